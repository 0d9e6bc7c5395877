"""The one request of an enrolment and its answer."""

import anyio
import pytest

from tunnel_client.errors import ConnectError, EnrolRefusedError
from tunnel_client.http_once import OneExchange, write_post


async def test_an_answer_in_pieces_is_put_together() -> None:
    exchange = OneExchange(b"")
    text = (
        b"HTTP/1.1 100 Continue\r\n\r\n"
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n1\r\n \r\n0\r\n\r\n"
    )
    for byte in text:
        exchange.data_received(bytes([byte]))
    with anyio.fail_after(5):
        assert await exchange.answer() == (200, b"{} ")


async def test_a_field_of_the_head_is_known_before_the_body_is_whole() -> None:
    exchange = OneExchange(b"")
    exchange.data_received(b"HTTP/1.1 200 OK\r\nMcp-Session-Id: one\r\nContent-Length: 9\r\n\r\n")
    assert (exchange.field(b"mcp-session-id"), exchange.field(b"allow")) == (b"one", b"")


async def test_an_answer_without_a_length_ends_with_the_connection() -> None:
    exchange = OneExchange(b"")
    exchange.data_received(b"HTTP/1.1 401 No\r\nConnection: close\r\n\r\nno")
    exchange.eof_received()
    exchange.connection_lost(None)
    with anyio.fail_after(5):
        assert await exchange.answer() == (401, b"no")


@pytest.mark.parametrize(
    ("pieces", "error"),
    [
        ([b"nonsense\r\n\r\n"], EnrolRefusedError),
        ([b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nab"], ConnectError),
        ([b"HTTP/1.1 200 OK\r\n\r\n", b"x" * 70_000], EnrolRefusedError),
        ([b"HTTP/1.1 100 Continue\r\n\r\n"], ConnectError),
    ],
)
async def test_a_broken_answer_is_an_error(pieces: list[bytes], error: type[Exception]) -> None:
    exchange = OneExchange(b"")
    for piece in pieces:
        exchange.data_received(piece)
    exchange.eof_received()
    exchange.connection_lost(None)
    with anyio.fail_after(5):
        with pytest.raises(error):
            await exchange.answer()


def test_the_request_is_complete() -> None:
    assert write_post("/x", "h:1", b"{}") == (
        b"POST /x HTTP/1.1\r\nHost: h:1\r\nContent-Type: application/json\r\n"
        b"Accept: application/json\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}"
    )
