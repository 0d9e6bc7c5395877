"""Where an authorization answer may go."""

import pytest

from tunnel_relay.identity.redirects import allowed, is_redirect


@pytest.mark.parametrize(
    "uri",
    [
        "https://agent.example.com/callback",
        "https://agent.example.com:8443/a?b=c",
        "http://localhost:3000/callback",
        "http://127.0.0.1/callback",
        "http://[::1]:9/x",
        "cursor://anysphere.cursor-mcp/oauth/callback",
        "com.example.agent:/callback",
    ],
)
def test_what_an_agent_may_register(uri: str) -> None:
    assert is_redirect(uri)
    assert allowed([uri], uri)


@pytest.mark.parametrize(
    "uri",
    [
        "",
        "http://agent.example.com/callback",
        "http://localhost.evil.com/",
        "http://127.0.0.1.nip.io/",
        "https://",
        "https:///path",
        "https://user@host/",
        "https://host/#fragment",
        "https://host:99999/",
        "https://host:/x",
        "https://host;script-src/x",
        "https://host,default-src/x",
        "https://h%2eost/x",
        "https://[2001:4860::1]/x",
        "javascript:alert(1)",
        "JavaScript:alert(1)",
        "data:text/html,x",
        "file:///etc/passwd",
        "intent://x",
        "view-source:https://host/",
        "ms-appinstaller:?source=https://host/x",
        "search-ms:query=x",
        "smb://host/share",
        "tel:112",
        "//host/path",
        "/path",
        "https://host/\r\nSet-Cookie:x",
        "https://host/ x",
        "https://hóst/",
        "https://host\\@evil/",
        "x:",
        "https://" + "a" * 600,
    ],
)
def test_what_an_agent_may_not_register(uri: str) -> None:
    assert not is_redirect(uri)
    assert not allowed([uri], uri)


def test_an_answer_goes_to_a_registered_place_to_the_letter() -> None:
    registered = ["https://agent.example.com/callback"]
    for other in ("", "/", "?x", "/../x", "#"):
        assert not allowed(registered, registered[0] + other) or other == ""
    assert not allowed(registered, "https://AGENT.example.com/callback")
    assert not allowed(registered, "https://agent.example.com:443/callback")
    assert not allowed([], registered[0])


def test_only_the_port_of_a_loopback_redirect_may_differ() -> None:
    registered = ["http://127.0.0.1/callback?x=1"]
    assert allowed(registered, "http://127.0.0.1:51234/callback?x=1")
    assert not allowed(registered, "http://127.0.0.1:51234/callback")
    assert not allowed(registered, "http://localhost:51234/callback?x=1")
    assert not allowed(registered, "https://127.0.0.1:51234/callback?x=1")
