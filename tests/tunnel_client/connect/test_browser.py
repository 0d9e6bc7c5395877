"""Opening a page: no shell, no terminal taken over."""

import shlex
import sys
from pathlib import Path

import pytest

from tunnel_client.connect.browser import open_page
from tunnel_client.errors_connect import BadServerUrlError

URL = "https://login.example/go?state=a&redirect_uri=http%3A%2F%2F127.0.0.1%3A5%2Fcallback"


def test_the_address_is_one_argument_of_the_browser_that_was_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """R04: CVE-2025-6514."""
    seen = tmp_path / "seen"
    script = tmp_path / "browser.py"
    script.write_text(
        f"import sys, pathlib; pathlib.Path({str(seen)!r}).write_text(repr(sys.argv[1:]))"
    )
    monkeypatch.setenv("BROWSER", f"{shlex.join([sys.executable, str(script)])} %s")
    monkeypatch.setattr("webbrowser._tryorder", None)  # it reads BROWSER once in a process
    assert open_page(URL, {"BROWSER": "x"})
    assert seen.read_text() == repr([URL])


@pytest.mark.parametrize(
    "url",
    [
        "file:///etc/passwd",
        "javascript:alert(1)",
        "https://login.example/go?x=$(calc)",
        "https://login.example/go?x=`calc`",
        'https://login.example/go?x="&calc',
        "https://login.example/$(calc)?x=1",
        "http://login.example/go?x=1",
        "-incognito",
    ],
)
def test_what_is_not_a_plain_web_address_is_never_opened(url: str) -> None:
    """R04: CVE-2025-6514."""
    with pytest.raises(BadServerUrlError):
        open_page(url, {"BROWSER": "x"})


def test_without_a_display_nothing_is_opened(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("BROWSER", "DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("webbrowser._tryorder", None)
    assert not open_page(URL, {})
