"""MCP sessions over the wire: the agent sees the relay's id, the upstream its own, nobody both."""

import asyncio
import itertools

import pytest

from shared.errors import ResetCode
from tests.tunnel_client.upstream.http_support import (
    RawServer,
    Recorder,
    Seen,
    ask,
    begin,
    call,
    pool,
    raw_server,
    response,
    silence,
)
from tunnel_client.upstream.base import Headers, UpstreamRequest
from tunnel_client.upstream.http import HttpUpstream


class SessionServer:
    """Gives every `initialize` a session of its own and answers 404 to one it does not know."""

    def __init__(self) -> None:
        self.known: set[bytes] = set()
        self.numbers = itertools.count(1)
        self.delete_status = b"200 OK"

    async def __call__(self, seen: Seen, writer: asyncio.StreamWriter) -> None:
        session = seen.header(b"mcp-session-id")
        if b'"initialize"' in seen.body:
            assert session is None
            upstream_id = b"U-%d" % next(self.numbers)
            self.known.add(upstream_id)
            writer.write(response(b"Mcp-Session-Id: " + upstream_id))
        elif session is not None and session not in self.known:
            writer.write(response(status=b"404 Not Found"))
        elif seen.start.startswith(b"DELETE"):
            assert session is not None
            if self.delete_status.startswith(b"2"):
                self.known.discard(session)
            writer.write(response(status=self.delete_status))
        else:
            # Some servers repeat the id on every response.
            line = b"X-A: 1" if session is None else b"Mcp-Session-Id: " + session
            writer.write(response(line))


def deletes(server: RawServer) -> list[bytes | None]:
    found = [seen for seen in server.seen if seen.start.startswith(b"DELETE")]
    return [seen.header(b"mcp-session-id") for seen in found]


async def initialize(upstream: HttpUpstream, ours: str, session: str = "alice000") -> Recorder:
    return await ask(upstream, call("initialize", mcp_session=ours, session=session))


async def test_each_side_sees_its_own_id() -> None:
    async with raw_server(SessionServer()) as server, pool(server.url) as upstream:
        begun = await initialize(upstream, "ours-1")
        assert begun.header(b"mcp-session-id") == b"ours-1"
        assert b"U-1" not in [value for _, value in begun.headers]
        used = await ask(upstream, call(mcp_session="ours-1", session="alice000"))
        assert used.status == 200
        assert b"mcp-session-id" not in used.names
        assert server.seen[1].header(b"mcp-session-id") == b"U-1"


async def test_two_sessions_are_never_mixed() -> None:
    async with raw_server(SessionServer()) as server, pool(server.url) as upstream:
        await initialize(upstream, "ours-1", "alice000")
        await initialize(upstream, "ours-2", "bob00000")
        await ask(upstream, call(mcp_session="ours-2", session="bob00000"))
        await ask(upstream, call(mcp_session="ours-1", session="alice000"))
        assert [seen.header(b"mcp-session-id") for seen in server.seen[2:]] == [b"U-2", b"U-1"]


@pytest.mark.parametrize(("ours", "session"), [("unknown", "alice000"), ("ours-1", "mallory0")])
async def test_unknown_and_foreign_ones_get_a_404_and_touch_nothing(
    ours: str, session: str
) -> None:
    async with raw_server(SessionServer()) as server, pool(server.url) as upstream:
        await initialize(upstream, "ours-1")
        reply = await ask(upstream, call(mcp_session=ours, session=session, id="q"))
        assert reply.status == 404
        error = reply.error()
        assert (error["id"], error["code"]) == ("q", -32600)
        assert "reconnect" in error["message"]
        assert error["data"]["delivery"] == "never_sent"
        assert (
            await ask(upstream, call(http="GET", mcp_session=ours, session=session))
        ).status == 404
        assert len(server.seen) == 1


async def test_without_an_mcp_session_nothing_is_added_or_learned() -> None:
    answer = response(b"Mcp-Session-Id: U-9")

    async def always(seen: Seen, writer: asyncio.StreamWriter) -> None:
        writer.write(answer)

    async with raw_server(always) as server, pool(server.url) as upstream:
        for method in ("initialize", "tools/call"):
            reply = await ask(upstream, call(method))
            assert reply.status == 200
            assert b"mcp-session-id" not in reply.names
        assert [seen.header(b"mcp-session-id") for seen in server.seen] == [None, None]
        assert len(upstream._sessions) == 0


@pytest.mark.parametrize("status", [b"200 OK", b"204 No Content", b"404 Not Found"])
async def test_a_delete_that_worked_forgets(status: bytes) -> None:
    behaviour = SessionServer()
    behaviour.delete_status = status
    async with raw_server(behaviour) as server, pool(server.url) as upstream:
        await initialize(upstream, "ours-1")
        await ask(upstream, call(http="DELETE", mcp_session="ours-1", session="alice000"))
        assert deletes(server) == [b"U-1"]
        assert (await ask(upstream, call(mcp_session="ours-1", session="alice000"))).status == 404
        assert len(server.seen) == 2


async def test_a_delete_that_is_not_allowed_forgets_nothing() -> None:
    behaviour = SessionServer()
    behaviour.delete_status = b"405 Method Not Allowed"
    async with raw_server(behaviour) as server, pool(server.url) as upstream:
        await initialize(upstream, "ours-1")
        reply = await ask(upstream, call(http="DELETE", mcp_session="ours-1", session="alice000"))
        assert reply.status == 405
        assert (await ask(upstream, call(mcp_session="ours-1", session="alice000"))).status == 200


async def test_an_upstream_that_lost_the_mcp_session_makes_us_forget_it() -> None:
    behaviour = SessionServer()
    async with raw_server(behaviour) as server, pool(server.url) as upstream:
        await initialize(upstream, "ours-1")
        behaviour.known.clear()
        for _ in range(2):
            reply = await ask(upstream, call(mcp_session="ours-1", session="alice000"))
            assert reply.status == 404
        assert len(server.seen) == 2


async def test_an_initialize_that_failed_is_not_remembered() -> None:
    async def refuse(seen: Seen, writer: asyncio.StreamWriter) -> None:
        writer.write(response(b"Mcp-Session-Id: U-1", status=b"400 Bad Request"))

    async with raw_server(refuse) as server, pool(server.url) as upstream:
        reply = await initialize(upstream, "ours-1")
        assert reply.status == 400
        assert b"mcp-session-id" not in reply.names
        assert (await ask(upstream, call(mcp_session="ours-1", session="alice000"))).status == 404


@pytest.mark.parametrize("value", [b"a b", b"\xc3\xa4", b"x" * 2000])
async def test_an_upstream_id_that_is_no_id_is_refused(value: bytes) -> None:
    async def odd(seen: Seen, writer: asyncio.StreamWriter) -> None:
        writer.write(response(b"Mcp-Session-Id: " + value))

    async with raw_server(odd) as server, pool(server.url) as upstream:
        reply = await initialize(upstream, "ours-1")
        assert reply.status == 502
        assert value not in reply.body
        assert len(upstream._sessions) == 0


async def test_a_full_table_refuses_new_ones_before_the_upstream_begins_them() -> None:
    async with raw_server(SessionServer()) as server, pool(server.url, mcp_sessions=2) as upstream:
        await initialize(upstream, "ours-1", "alice000")
        await initialize(upstream, "ours-2", "bob00000")
        reply = await initialize(upstream, "ours-3", "carol000")
        assert reply.status == 503
        assert reply.error()["data"]["delivery"] == "never_sent"
        assert len(server.seen) == 2
        for ours, session in (("ours-1", "alice000"), ("ours-2", "bob00000")):
            used = await ask(upstream, call(mcp_session=ours, session=session))
            assert used.status == 200


async def test_who_loses_the_race_for_the_last_place_is_refused_and_said_farewell() -> None:
    async with raw_server(SessionServer()) as server, pool(server.url, mcp_sessions=1) as upstream:
        replies = [
            begin(upstream, call("initialize", mcp_session=f"ours-{n}", session="alice000"))[1]
            for n in range(2)
        ]
        statuses = sorted([(await reply.done()).status or 0 for reply in replies])
        assert statuses == [200, 503]
        await server.until(lambda: len(deletes(server)) == 1)


async def test_the_end_of_a_session_ends_all_of_it_and_nothing_else() -> None:
    behaviour = SessionServer()
    async with raw_server(behaviour) as server, pool(server.url) as upstream:
        for n in range(30):
            await initialize(upstream, f"ours-{n}", "alice000")
        await initialize(upstream, "bobs", "bob00000")
        upstream.end_session("alice000")
        upstream.end_session("alice000")
        await server.until(lambda: len(deletes(server)) == 30)
        assert sorted(filter(None, deletes(server))) == sorted(b"U-%d" % n for n in range(1, 31))
        assert behaviour.known == {b"U-31"}
        assert (await ask(upstream, call(mcp_session="ours-1", session="alice000"))).status == 404
        assert (await ask(upstream, call(mcp_session="bobs", session="bob00000"))).status == 200


async def test_a_farewell_is_said_for_whom_the_mcp_session_was() -> None:
    """Where each user has a credential of their own, the upstream takes it with no other."""
    asked: list[tuple[str, str | None]] = []

    def inject(request: UpstreamRequest) -> Headers:
        asked.append((request.method, request.user))
        return []

    async with raw_server(SessionServer()) as server, pool(server.url, inject) as upstream:
        begins = call("initialize", mcp_session="ours", session="alice000")
        begins.user = "alice"
        assert (await ask(upstream, begins)).status == 200
        upstream.end_session("alice000")
        await server.until(lambda: len(deletes(server)) == 1)
    assert asked == [("POST", "alice"), ("DELETE", "alice")]


async def test_the_end_of_a_session_fails_its_open_exchanges_and_no_others() -> None:
    async with raw_server(silence) as server, pool(server.url, connections=2) as upstream:
        _, cut = begin(upstream, call("initialize", mcp_session="ours-1", session="alice000"))
        _, kept = begin(upstream, call(session="bob00000"))
        await server.until(lambda: len(server.seen) == 2)
        _, waiting = begin(upstream, call(session="alice000"))
        upstream.end_session("alice000")
        for reply in (cut, waiting):
            await reply.done()
            assert reply.failure is not None
            assert reply.failure[0] is ResetCode.REVOKED
        await server.until(lambda: server.open == 1)
        assert kept.told == []
        assert len(server.seen) == 2


async def test_an_unused_mcp_session_is_forgotten_and_said_farewell() -> None:
    async with (
        raw_server(SessionServer()) as server,
        pool(server.url, mcp_session_seconds=0.05) as upstream,
    ):
        await initialize(upstream, "ours-1")
        await server.until(lambda: deletes(server) == [b"U-1"])
        assert (await ask(upstream, call(mcp_session="ours-1", session="alice000"))).status == 404


async def test_an_open_stream_keeps_its_mcp_session() -> None:
    gate = asyncio.Event()
    behaviour = SessionServer()

    async def answer(seen: Seen, writer: asyncio.StreamWriter) -> None:
        if seen.start.startswith(b"GET"):
            await gate.wait()
        await behaviour(seen, writer)

    async with raw_server(answer) as server, pool(server.url, mcp_session_seconds=0.5) as upstream:
        await initialize(upstream, "ours-1")
        _, stream = begin(upstream, call(http="GET", mcp_session="ours-1", session="alice000"))
        await initialize(upstream, "ours-2")
        # The other one, begun later, shows that enough time has passed.
        await server.until(lambda: deletes(server) == [b"U-2"])
        gate.set()
        assert (await stream.done()).status == 200
        await server.until(lambda: deletes(server) == [b"U-2", b"U-1"])


async def test_a_farewell_that_is_not_answered_holds_no_connection_for_long() -> None:
    behaviour = SessionServer()

    async def answer(seen: Seen, writer: asyncio.StreamWriter) -> None:
        if seen.start.startswith(b"DELETE"):
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n: hang\n\n")
        else:
            await behaviour(seen, writer)

    async with raw_server(answer) as server, pool(server.url, farewell_seconds=0.05) as upstream:
        for n in range(12):
            await initialize(upstream, f"ours-{n}")
        upstream.end_session("alice000")
        await server.until(lambda: len(deletes(server)) == 12)
        await server.until(lambda: server.open <= 1)


async def test_farewells_to_an_upstream_that_is_gone_end_by_themselves() -> None:
    async with raw_server(SessionServer()) as server, pool(server.url) as upstream:
        for n in range(12):
            await initialize(upstream, f"ours-{n}")
        await server.stop()
        upstream.end_session("alice000")
        await server.until(lambda: upstream._farewells._running == 0)
        assert len(upstream._sessions) == 0
