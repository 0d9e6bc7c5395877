import json

from shared.errors import ResetCode
from tests.helpers.upstream_peer import BOTH, KeptReply, Peer, eventually, is_alive, upstream_of

INITIALIZE = {"id": 1, "method": "initialize", "params": {"protocolVersion": "2025-06-18"}}
INITIALIZED = {"method": "notifications/initialized"}


async def started(peer: Peer, name: str = "s", version: str = "2025-06-18") -> None:
    assert (await peer.initialize(name, version).done()).status == 200
    assert peer.send(INITIALIZED, mcp_session=name).status == 202


async def pid_of(peer: Peer, name: str) -> int:
    return int(json.loads((await peer.legacy_call(name, "facts").done()).text)["pid"])


async def test_initialize_answers_as_a_stream_with_the_relays_session_id() -> None:
    async with upstream_of() as peer:
        reply = await peer.initialize("abc").done()
    assert reply.status == 200
    assert reply.headers[b"content-type"] == b"text/event-stream"
    assert reply.headers[b"mcp-session-id"] == b"abc"
    assert reply.last["result"]["serverInfo"]["name"] == "raw"


async def test_each_mcp_session_has_a_child_of_its_own() -> None:
    async with upstream_of() as peer:
        for name in "ab":
            await started(peer, name)
        assert await pid_of(peer, "a") != await pid_of(peer, "b")
        assert peer.upstream.children == 2


async def test_what_the_reference_server_refuses_is_refused_alike() -> None:
    call = {"id": 7, "method": "tools/list"}
    json_only = [(b"accept", b"application/json")]
    async with upstream_of() as peer:
        await started(peer)
        cases: list[tuple[KeptReply, int]] = [
            (peer.send(call), 400),
            (peer.send(call, mcp_session="nobody"), 404),
            (peer.send(call, mcp_session="s", session="f0re1gn0"), 404),
            (peer.send(call, mcp_session="s", headers=json_only), 406),
            (peer.send(call, mcp_session="s", headers=[*BOTH, bad_version()]), 400),
            (peer.get(None), 400),
            (peer.get("nobody"), 404),
            (peer.send(None, method="GET", headers=json_only, mcp_session="s"), 406),
            (peer.send(None, method="DELETE", mcp_session="nobody"), 404),
            (peer.send(None, method="DELETE"), 400),
            (peer.send(None, method="PUT", mcp_session="s"), 405),
        ]
        for reply, status in cases:
            await reply.done()
            assert reply.status == status
        assert cases[10][0].headers[b"allow"] == b"GET, POST, DELETE"
        # Agents show this text to the person instead of starting a new session.
        assert "Reconnect" in cases[1][0].last["error"]["message"]
        assert cases[1][0].last["id"] == 7
        assert cases[1][0].body == cases[2][0].body


def bad_version() -> tuple[bytes, bytes]:
    return (b"mcp-protocol-version", b"1999-01-01")


async def test_delete_ends_the_child() -> None:
    async with upstream_of() as peer:
        await started(peer)
        pid = await pid_of(peer, "s")
        get = peer.get("s")
        assert peer.send(None, method="DELETE", mcp_session="s").status == 200
        assert (await get.done()).failed is None
        assert (await peer.legacy_call("s", "echo").done()).status == 404
        await eventually(lambda: not is_alive(pid) and peer.upstream.children == 0)


async def test_an_initialize_the_server_refuses_leaves_no_session() -> None:
    async with upstream_of() as peer:
        reply = await peer.initialize("s", "1999-01-01").done()
        assert reply.last["error"]["code"] == -32602
        assert b"mcp-session-id" not in reply.headers
        assert (await peer.legacy_call("s", "echo").done()).status == 404
        await eventually(lambda: peer.upstream.children == 0)


async def test_more_children_than_allowed_are_refused_and_none_is_pushed_out() -> None:
    async with upstream_of(children=2) as peer:
        for name in "ab":
            assert (await peer.initialize(name, session=name * 8).done()).status == 200
        reply = await peer.initialize("c", session="cccccccc").done()
        assert reply.status == 503
        assert reply.last["id"] == 0
        assert (await peer.modern_call("echo").done()).status == 503
        for name in "ab":
            call = peer.legacy_call(name, "echo", session=name * 8)
            assert (await call.done()).status == 200


async def test_one_session_leaves_room_for_another() -> None:
    async with upstream_of(children=4) as peer:
        statuses = [(await peer.initialize(name).done()).status for name in "abcd"]
        assert statuses == [200, 200, 200, 503]
        other = await peer.initialize("e", session="eeeeeeee").done()
        assert other.status == 200


async def test_an_initialize_nobody_waits_for_keeps_no_child() -> None:
    """L09: a few agents that give up would otherwise keep all others out for half an hour."""
    async with upstream_of("hushed", children=2) as peer:
        for name in "abc":
            begun = peer.initialize(name)
            assert begun.status is None
            assert begun.exchange is not None
            begun.exchange.cancel()
            await eventually(lambda: peer.upstream.children == 0)
            assert (await peer.legacy_call(name, "echo").done()).status == 404


async def test_an_initialize_that_is_asked_again_is_waited_for() -> None:
    async with upstream_of("hushed") as peer:
        first, second = peer.initialize("a"), peer.send(INITIALIZE, mcp_session="a")
        for each in (second, first):
            assert peer.upstream.children == 1
            assert each.exchange is not None
            each.exchange.cancel()
        await eventually(lambda: peer.upstream.children == 0)


async def test_the_end_of_a_session_ends_its_children_at_once() -> None:
    async with upstream_of("deaf", grace=60.0) as peer:
        assert (await peer.initialize("a", session="aaaaaaaa").done()).status == 200
        assert (await peer.initialize("b", session="bbbbbbbb").done()).status == 200
        held = peer.legacy_call("a", "hold", {"key": "k"}, session="aaaaaaaa")
        call = peer.legacy_call("a", "facts", id=2, session="aaaaaaaa")
        pid = json.loads((await call.done()).text)["pid"]
        peer.upstream.end_session("aaaaaaaa")
        assert held.failed is ResetCode.REVOKED
        await eventually(lambda: not is_alive(pid))
        assert (await peer.legacy_call("a", "echo", session="aaaaaaaa").done()).status == 404
        reply = await peer.legacy_call("b", "echo", session="bbbbbbbb").done()
        assert reply.status == 200
        peer.upstream.end_session("bbbbbbbb")


async def test_an_idle_mcp_session_ends_but_not_one_that_is_listened_to() -> None:
    async with upstream_of(idle_timeout=0.2, sweep=0.02) as peer:
        await started(peer, "listened")
        get = peer.get("listened")
        await started(peer, "idle")
        await eventually(lambda: peer.upstream.children == 1)
        assert (await peer.legacy_call("idle", "echo").done()).status == 404
        assert (await peer.legacy_call("listened", "echo").done()).status == 200
        assert not get.ended


async def test_a_crash_ends_the_session_and_says_that_the_outcome_is_unknown() -> None:
    async with upstream_of() as peer:
        await started(peer)
        held = peer.legacy_call("s", "hold", {"key": "k"}, id=5)
        get = peer.get("s")
        crashed = await peer.legacy_call("s", "crash", id=6).done()
        assert crashed.failed is ResetCode.UPSTREAM_BROKE
        assert (await held.done()).failed is ResetCode.UPSTREAM_BROKE
        assert (await get.done()).failed is None
        assert (await peer.legacy_call("s", "echo").done()).status == 404


async def test_a_program_that_cannot_serve_is_not_started_over_and_over() -> None:
    """L10: crashes before the first answer count, and only those."""
    async with upstream_of("crash", quarantine_after=3) as peer:
        statuses = []
        for _ in range(6):
            reply = await peer.initialize("s").done()
            statuses.append(reply.failed or reply.status)
        assert statuses[0] is ResetCode.UPSTREAM_BROKE
        assert statuses[-1] == 503
    async with upstream_of(quarantine_after=2) as peer:
        for _ in range(4):
            await started(peer)
            await peer.legacy_call("s", "crash").done()
        await started(peer)


async def test_equal_ids_in_two_mcp_sessions_never_mix() -> None:
    """H27."""
    async with upstream_of() as peer:
        for name in "ab":
            await started(peer, name)
        held = {name: peer.legacy_call(name, "hold", {"key": name}, id=1) for name in "ab"}
        for name in "ba":
            await peer.legacy_call(name, "release", {"key": name}, id=2).done()
        for name in "ab":
            assert (await held[name].done()).text == name


async def test_an_id_in_use_is_refused_while_its_string_twin_is_not() -> None:
    """H27."""
    async with upstream_of() as peer:
        await started(peer)
        first = peer.legacy_call("s", "hold", {"key": "a"}, id=1)
        again = await peer.legacy_call("s", "hold", {"key": "b"}, id=1).done()
        assert (again.status, again.last["error"]["code"]) == (400, -32600)
        twin = peer.legacy_call("s", "hold", {"key": "c"}, id="1")
        for key, identity in (("c", 8), ("a", 9)):
            await peer.legacy_call("s", "release", {"key": key}, id=identity).done()
        assert (await first.done()).text == "a"
        assert (await twin.done()).text == "c"
        assert twin.last["id"] == "1"
