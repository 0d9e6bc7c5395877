"""Pages of allowed origins may read what concerns them."""

from tunnel_relay.gateway.checks import Request
from tunnel_relay.gateway.cors import headers, preflight


def test_only_a_request_with_an_origin_is_answered_for_one() -> None:
    request = Request()
    assert headers(request) == []
    request.fields[b"origin"] = b"https://page.example"
    fields = dict(headers(request))
    assert fields[b"access-control-allow-origin"] == b"https://page.example"
    assert b"www-authenticate" in fields[b"access-control-expose-headers"]
    assert preflight(request).status == 204
    assert b"authorization" in dict(preflight(request).headers)[b"access-control-allow-headers"]
