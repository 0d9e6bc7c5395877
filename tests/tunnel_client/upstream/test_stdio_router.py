import json

from tests.helpers.upstream_peer import KeptReply
from tunnel_client.upstream.base import UpstreamRequest
from tunnel_client.upstream.stdio_exchange import ModernExchange
from tunnel_client.upstream.stdio_remap import Mapping
from tunnel_client.upstream.stdio_router import Router


class Desk:
    """A router with one exchange, whose agent calls it 1 and its token "t"."""

    def __init__(self) -> None:
        self.notes: list[str] = []
        self.router = Router(self.notes.append)
        self.reply = KeptReply()
        request = UpstreamRequest("POST", [], b"", None, "s", None)
        self.exchange = ModernExchange(self, request, self.reply, 1000)
        params = {"_meta": {"progressToken": "t"}}
        self.exchange.mapping = self.mapping = Mapping(self.router.names, 1, params)
        self.router.sent(self.exchange, self.mapping)

    def abandon(self, exchange: ModernExchange) -> None:
        raise AssertionError

    def line(self, **message: object) -> tuple[ModernExchange | None, bool]:
        return self.router.line(json.dumps({"jsonrpc": "2.0", **message}).encode())


async def test_names_that_are_not_ours_reach_nobody() -> None:
    desk = Desk()
    identities: list[object] = [1, "1", None, True, 1.0, ["x"], {}, "mt-0"]
    tokens: list[object] = ["t", 1, None, {}]
    for identity in identities:
        assert desk.line(id=identity, result={}) == (None, False)
    for token in tokens:
        desk.line(method="notifications/progress", params={"progressToken": token})
    desk.line(method="notifications/progress")
    desk.line(method="notifications/message", params={"data": "x"})
    desk.line(method="notifications/cancelled", params={"requestId": 1})
    desk.line(id=desk.mapping.id, method="roots/list")
    assert desk.reply.status is None


async def test_a_change_of_the_tools_is_told() -> None:
    desk = Desk()
    assert desk.line(method="notifications/tools/list_changed", params={}) == (None, True)


async def test_what_is_ours_reaches_the_agent_under_its_own_names() -> None:
    desk = Desk()
    told = {"progressToken": desk.mapping.token}
    desk.line(method="notifications/progress", params=told)
    assert desk.line(id=desk.mapping.id, result={}) == (desk.exchange, False)
    assert desk.reply.messages[0]["params"] == {"progressToken": "t"}
    assert desk.reply.messages[1]["id"] == 1


async def test_without_the_child_our_own_questions_end_without_an_answer() -> None:
    desk = Desk()
    answers: list[object] = []
    desk.router.asked(lambda result, size: answers.append((result, size)))
    desk.router.clear()
    assert answers == [(None, 0)]
