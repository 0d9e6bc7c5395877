import pytest

from shared.errors import ResetCode
from tests.helpers.upstream_peer import KeptReply
from tunnel_client.upstream.base import UpstreamRequest
from tunnel_client.upstream.stdio_exchange import ModernExchange


class Table:
    def __init__(self) -> None:
        self.abandoned: list[ModernExchange] = []

    def abandon(self, exchange: ModernExchange) -> None:
        self.abandoned.append(exchange)


def made(limit: int = 100) -> tuple[Table, KeptReply, ModernExchange]:
    table, reply = Table(), KeptReply()
    request = UpstreamRequest("POST", [], b"", None, "s", None)
    return table, reply, ModernExchange(table, request, reply, limit)


@pytest.mark.parametrize(
    ("code", "status"),
    [(None, 200), (-32601, 404), (-32602, 400), (-32021, 400), (-32603, 200), (1, 200)],
)
def test_the_status_follows_the_error(code: int | None, status: int) -> None:
    _, reply, exchange = made()
    exchange.result(b"{}", code)
    assert (reply.status, reply.body, reply.ended) == (status, b"{}", True)


def test_once_a_stream_has_begun_an_error_is_an_event() -> None:
    _, reply, exchange = made()
    exchange.message(b"{}")
    exchange.result(b"{}", -32601)
    assert (reply.status, reply.ended) == (200, True)
    assert reply.body == b"event: message\ndata: {}\n\n" * 2


def test_what_is_kept_comes_in_order_and_the_end_last() -> None:
    _, reply, exchange = made()
    reply.ready = False
    for line in (b'{"n":1}', b'{"n":2}', b'{"n":3}'):
        exchange.message(line)
    exchange.result(b'{"n":4}', None)
    assert reply.messages == [{"n": 1}]
    exchange.resume()
    assert reply.messages == [{"n": 1}, {"n": 2}]
    reply.ready = True
    exchange.resume()
    assert reply.messages == [{"n": 1}, {"n": 2}, {"n": 3}, {"n": 4}]
    assert reply.ended


def test_too_much_kept_ends_this_exchange() -> None:
    table, reply, exchange = made(limit=100)
    reply.ready = False
    for _ in range(5):
        exchange.message(b"x" * 40)
    assert reply.failed is ResetCode.STALLED
    assert table.abandoned == [exchange]
    exchange.result(b"{}", None)


def test_after_a_cancel_the_reply_is_silent() -> None:
    table, reply, exchange = made()
    exchange.cancel()
    exchange.cancel()
    exchange.message(b"{}")
    exchange.result(b"{}", None)
    exchange.close()
    exchange.fail(ResetCode.UPSTREAM_BROKE, "x")
    exchange.silent_until(1.0)
    assert table.abandoned == [exchange]
    assert (reply.status, reply.failed) == (None, None)
