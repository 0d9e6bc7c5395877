"""Cookies that stay with us, forms that come from us."""

import pytest
from starlette.requests import Request
from starlette.responses import Response

from tunnel_relay.web.browsers import BrowserCookie, is_own_request

OWN = ("https://relay.example.com",)


def a_request(**headers: str) -> Request:
    pairs = [(key.replace("_", "-").encode(), value.encode()) for key, value in headers.items()]
    return Request({"type": "http", "headers": pairs})


@pytest.mark.parametrize("secure", [True, False])
def test_a_cookie_is_out_of_reach_of_scripts_and_other_hosts(secure: bool) -> None:
    cookie = BrowserCookie("x", secure=secure, same_site="Strict")
    answer = Response()
    cookie.set(answer, "value")
    sent = answer.headers["set-cookie"]
    assert "HttpOnly" in sent
    assert "SameSite=Strict" in sent
    assert "Domain" not in sent
    assert ("Secure" in sent) is secure
    assert sent.startswith("__Host-x=value" if secure else "x=value")
    assert cookie.read(a_request(cookie=f"{cookie.name}=value")) == "value"
    assert cookie.read(a_request(cookie=f"{cookie.name}={'v' * 65}")) == ""
    cookie.clear(answer)
    assert "Max-Age=0" in answer.headers.getlist("set-cookie")[1]


def test_a_form_names_our_origin_or_is_refused() -> None:
    """U01."""
    assert is_own_request(a_request(origin=OWN[0]), OWN)
    assert is_own_request(a_request(origin=OWN[0], sec_fetch_site="same-origin"), OWN)
    for headers in (
        {},
        {"origin": "null"},
        {"origin": "https://evil.example"},
        {"origin": OWN[0], "sec_fetch_site": "cross-site"},
        {"origin": OWN[0], "sec_fetch_site": "none"},
        {"sec_fetch_site": "same-origin"},
    ):
        assert not is_own_request(a_request(**headers), OWN)
