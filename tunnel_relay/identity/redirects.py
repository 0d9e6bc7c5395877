"""Where an authorization answer may be sent (RFC 6749 section 3.1.2, RFC 8252). Pure."""

import re
from collections.abc import Iterable
from urllib.parse import urlsplit

MAX_LENGTH = 500
LOOPBACK = frozenset(("localhost", "127.0.0.1", "::1"))
_WEB = frozenset(("http", "https"))
_SCHEME = re.compile(r"[a-z][a-z0-9+.-]*")
_AUTHORITY = re.compile(r"([A-Za-z0-9.-]+|\[::1\])(:[0-9]{1,5})?")
"""Host and port as they may stand in a header of ours: a comma or semicolon ends a directive."""
_NEVER = frozenset(
    (
        *("javascript", "data", "vbscript", "file", "blob", "about", "ftp", "ws", "wss", "mailto"),
        *("intent", "view-source", "filesystem", "jar", "chrome", "resource", "tel", "sms"),
        *("search-ms", "smb", "nfs", "ldap", "ssh", "telnet"),
    )
)
"""Schemes of no agent's own: what runs script, reads files, or has the system act."""
_NEVER_PREFIX = "ms-"
"""Windows' own (`ms-appinstaller:` installs)."""


def is_redirect(uri: str) -> bool:
    """Tell whether an agent may register this: https, http on loopback, or a scheme of its own."""
    if not 0 < len(uri) <= MAX_LENGTH or not uri.isascii() or not uri.isprintable():
        return False
    if any(character in uri for character in ' "<>\\^`{|}#'):
        return False
    try:
        url = urlsplit(uri)
        host, _ = url.hostname, url.port
    except ValueError:
        return False
    scheme = url.scheme
    if (
        not _SCHEME.fullmatch(scheme)
        or scheme in _NEVER
        or scheme.startswith(_NEVER_PREFIX)
        or not uri.startswith(scheme + ":")
    ):
        return False
    if scheme in _WEB:
        if not host or not _AUTHORITY.fullmatch(url.netloc):
            return False
        return scheme == "https" or host in LOOPBACK
    return bool(uri[len(scheme) + 1 :])


def allowed(registered: Iterable[str], asked: str) -> bool:
    """Tell whether an answer may go to `asked`: equal to a registered one to the letter.

    Only the port of a loopback redirect may differ: a native agent gets it from its system
    (RFC 8252 section 7.3).
    """
    if not is_redirect(asked):
        return False
    return any(asked == one or _but_for_port(one) == _but_for_port(asked) for one in registered)


def _but_for_port(uri: str) -> object:
    url = urlsplit(uri)
    if url.scheme != "http" or url.hostname not in LOOPBACK:
        return uri
    return url.hostname, url.path, url.query
