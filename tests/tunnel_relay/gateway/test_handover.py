"""Requests written anew for another protocol."""

from tunnel_relay.gateway.checks import Request
from tunnel_relay.gateway.handover import page_request, upgrade_request


def made(method: bytes, *headers: tuple[bytes, bytes]) -> Request:
    request = Request()
    request.method, request.url, request.headers = method, b"/healthz", list(headers)
    return request


def test_a_page_is_asked_for_once_with_its_whole_body() -> None:
    request = made(
        b"POST", (b"host", b"r"), (b"transfer-encoding", b"chunked"), (b"expect", b"100-continue")
    )
    request.body = b"whole"
    assert page_request(request) == (
        b"POST /healthz HTTP/1.1\r\nhost: r\r\nconnection: close\r\ncontent-length: 5\r\n\r\nwhole"
    )


def test_a_page_without_a_body_gets_no_length() -> None:
    request = made(b"GET", (b"host", b"r"), (b"connection", b"keep-alive"))
    assert page_request(request) == (
        b"GET /healthz HTTP/1.1\r\nhost: r\r\nconnection: close\r\n\r\n"
    )


def test_an_upgrade_keeps_every_field() -> None:
    request = made(b"GET", (b"connection", b"upgrade"), (b"upgrade", b"websocket"))
    assert upgrade_request(request) == (
        b"GET /healthz HTTP/1.1\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n"
    )
