"""Opens the page of a login for the person at this machine; never through a shell."""

import os
import webbrowser
from collections.abc import Mapping

from tunnel_client.connect.address import MAX_URL, WebUrl
from tunnel_client.errors_connect import BadServerUrlError

_LONGEST = 4 * MAX_URL


def open_page(url: str, environ: Mapping[str, str]) -> bool:
    """Open an http(s) address; False when nothing here can. Blocks as long as the browser starts.

    A browser that takes over a terminal is left out, because ours belongs to the agent; whoever
    sets BROWSER knows what they want.
    """
    base, _, query = url.partition("?")
    WebUrl.parse(base)
    if len(query) > _LONGEST or not query.isascii() or any(each in query for each in "\"'<>`$\\ "):
        raise BadServerUrlError("the login's address holds characters that no such address needs")
    try:
        controller = webbrowser.get()
    except webbrowser.Error:
        return False
    if type(controller) is webbrowser.GenericBrowser and "BROWSER" not in environ:
        return False
    if not _has_display(environ) and "BROWSER" not in environ:
        return False
    try:
        return bool(controller.open(url))
    except (OSError, webbrowser.Error):
        return False


def _has_display(environ: Mapping[str, str]) -> bool:
    if os.name != "posix" or os.uname().sysname == "Darwin":
        return True
    return bool(environ.get("DISPLAY") or environ.get("WAYLAND_DISPLAY"))
