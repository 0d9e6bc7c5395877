"""Which addresses are called or opened at all."""

import pytest

from tunnel_client.connect.address import WebUrl, reachable_from
from tunnel_client.errors_connect import BadServerUrlError


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("https://Relay.Example:443/t/a/b/mcp", "https://relay.example/t/a/b/mcp"),
        ("https://relay.example:8443/t/a/b/mcp?x=1", "https://relay.example:8443/t/a/b/mcp?x=1"),
        ("http://127.0.0.1:80/mcp", "http://127.0.0.1/mcp"),
        ("http://[::1]:8080/mcp", "http://[::1]:8080/mcp"),
        ("http://localhost:8080/mcp", "http://localhost:8080/mcp"),
    ],
)
def test_an_address_is_written_one_way(text: str, written: str) -> None:
    assert WebUrl.parse(text).text == written


@pytest.mark.parametrize(
    "text",
    [
        "",
        "relay.example",
        "http://relay.example/mcp",
        "http://127.0.0.1.evil.example/mcp",
        "ftp://relay.example/",
        "file:///etc/passwd",
        "javascript:alert(1)",
        "https://user:pw@relay.example/",
        "https://@relay.example/",
        "https://relay.example/#x",
        "https://relay.example:0/",
        "https://relay.example:99999/",
        "https://[::/",
        "https:///mcp",
        'https://relay.example/";calc;"',
        "https://relay.example/$(calc)",
        "https://relay.example/`calc`",
        "https://relay.example/a b",
        "https://relay.example/\n",
        "https://relay.ex\u00e4mple/",
        "https://relay.example/" + "a" * 3000,
    ],
)
def test_what_is_not_a_plain_web_address_is_refused(text: str) -> None:
    """R04: CVE-2025-6514."""
    with pytest.raises(BadServerUrlError):
        WebUrl.parse(text)


def test_a_server_elsewhere_may_not_point_at_this_machine() -> None:
    """R04."""
    far, near = WebUrl.parse("https://relay.example/mcp"), WebUrl.parse("http://localhost:1/mcp")
    for text in ("http://127.0.0.1:5000/", "https://localhost/", "https://[::1]/"):
        with pytest.raises(BadServerUrlError):
            reachable_from(text, far)
        assert reachable_from(text, near).is_local
    assert reachable_from("https://login.example/", far).host == "login.example"
