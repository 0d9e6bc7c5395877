"""Who gets a link: attack rows T01 to T11 over raw WebSockets to the running relay."""

import asyncio
from contextlib import AsyncExitStack
from dataclasses import replace
from typing import Any

import pytest

from shared.ids import new_id
from shared.keys import PrivateKey
from shared.wire.frames import FrameType, encode_frame, encode_message
from shared.wire.handshake import client_transcript, encode
from tests.helpers.raw_link import (
    BINARY,
    BROKE,
    Member,
    RawLink,
    dialled,
    joined,
    upgrade_lines,
    upgraded,
    ws_frame,
)
from tests.helpers.tunnel import TUNNEL
from tests.integration.hostile import Stage, enrol, patiently

pytestmark = [pytest.mark.system, pytest.mark.asyncio(loop_scope="session")]

POLICY, REVOKED, REPLACED, PROTOCOL = 1008, 4403, 4409, 1002
NOT_AUTHENTICATED = (POLICY, "not authenticated")


async def upgrade(stage: Stage, *more: str, path: str = "/tunnel", **changed: str | None) -> int:
    """Ask for a WebSocket; returns the status."""
    host = f"127.0.0.1:{stage.port}"
    async with dialled(stage.port) as link:
        return await link.upgrade([*upgrade_lines(host, **changed), *more], path)


@pytest.mark.parametrize(
    "authorization", [None, "", "MCP-Tunnel", "Bearer mts_x", "Basic eDp4", "MCP-Tunnellab x"]
)
async def test_t01_no_upgrade_without_the_name_of_a_tunnel(
    stage: Stage, authorization: str | None
) -> None:
    assert await upgrade(stage, authorization=authorization) == 401
    await stage.alive()


async def test_t01_two_names_are_none(stage: Stage) -> None:
    assert await upgrade(stage, "Authorization: MCP-Tunnel lab") in (400, 401)


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "http://127.0.0.1", ""])
async def test_t02_browsers_get_no_link(stage: Stage, origin: str) -> None:
    assert await upgrade(stage, f"Origin: {origin}") == 403


async def test_t02_a_cookie_is_no_credential(stage: Stage) -> None:
    assert await upgrade(stage, "Cookie: tunnel=lab", authorization=None) == 401


@pytest.mark.parametrize("path", ["/", "/tunnel/", "/tunnel/x", "/t/lab/server/mcp", "//tunnel"])
async def test_links_are_taken_at_one_path(stage: Stage, path: str) -> None:
    assert await upgrade(stage, path=path) == 404


async def test_t16_compression_is_never_agreed_on(stage: Stage) -> None:
    offered = "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits"
    async with dialled(stage.port) as link:
        assert await link.upgrade([*upgrade_lines(f"127.0.0.1:{stage.port}"), offered]) == 101
        assert "sec-websocket-extensions" not in link.fields
        link.write(ws_frame(BINARY, bytes(24), rsv=4))
        assert (await link.closed())[0] == PROTOCOL
    await stage.alive()


async def test_t03_a_captured_handshake_opens_nothing_a_second_time(stage: Stage) -> None:
    member = await stage.member()
    async with upgraded(stage.port) as link:
        hello = encode(member.hello(stage.origin))
        challenge = await link.challenged(hello)
        proof = member.key.sign(client_transcript(hello, challenge))
        link.handshake_frame(FrameType.PROOF, proof)
        await link.due(FrameType.READY)
        async with upgraded(stage.port) as replayed:
            again = await replayed.challenged(hello)
            assert again != challenge
            replayed.handshake_frame(FrameType.PROOF, proof)
            assert await replayed.closed() == NOT_AUTHENTICATED
        # The one who was copied keeps its link, and its key is not locked.
        link.catalog("copied")
        assert (await stage.instance(member, link))["connected"]
    assert (await stage.instance(member))["locked"] is None


async def test_t04_what_was_signed_for_another_relay_is_worth_nothing(stage: Stage) -> None:
    member = await stage.member()
    for origin in ("wss://other.example", f"wss://127.0.0.1:{stage.port}", "ws://127.0.0.1"):
        async with upgraded(stage.port) as link:
            await link.prove(member, member.hello(origin))
            assert await link.closed() == NOT_AUTHENTICATED


async def test_t05_every_reason_to_refuse_a_client_looks_the_same(stage: Stage) -> None:
    member = await stage.member()

    async def ends(who: Member, **changed: object) -> tuple[int, str]:
        async with upgraded(stage.port) as link:
            await link.prove(who, who.hello(stage.origin, **changed))
            return await link.closed()

    wrong_key = Member(PrivateKey.generate(), member.instance, member.counter)
    ended = {
        "wrong key": await ends(wrong_key),
        "unknown instance": await ends(Member()),
        "unknown tunnel": await ends(member, tunnel="nowhere"),
    }
    assert ended == dict.fromkeys(ended, NOT_AUTHENTICATED)


async def test_t05_dropped_clients_look_like_unknown_ones(stage: Stage) -> None:
    member = await stage.member()
    async with joined(stage.port, member) as link:
        # Its pings are answered meanwhile.
        closed = asyncio.create_task(link.closed())
        await stage.scene.lab.relay_json("tunnel", "rotate", TUNNEL, "--drop-clients")
        assert (await closed)[0] == REVOKED
    async with upgraded(stage.port) as link:
        await link.prove(member, member.hello(stage.origin))
        assert await link.closed() == NOT_AUTHENTICATED
    stage.honest = await stage.member()
    await stage.alive()


async def test_t07_a_counter_that_is_behind_locks_both(stage: Stage) -> None:
    member = await stage.member()
    clone = Member(member.key, member.instance, member.counter)
    async with joined(stage.port, member) as link, upgraded(stage.port) as second:
        await second.prove(clone, clone.hello(stage.origin))
        assert (await second.closed())[0] == REPLACED
        assert (await link.closed())[0] == REPLACED
    assert (await stage.instance(member))["locked"]
    for who in (member, clone):
        who.counter += 10
        async with upgraded(stage.port) as later:
            await later.prove(who, who.hello(stage.origin))
            assert (await later.closed())[0] == REVOKED
    assert member.instance in stage.scene.log("relay.log")
    await stage.alive()


async def test_a_link_is_resumed_by_its_own_client_alone(stage: Stage) -> None:
    member, other = await stage.member(), await stage.member()
    async with joined(stage.port, member) as link:
        async with joined(stage.port, other, resume=link.name, taken=0) as refused:
            assert refused.resumed is None
        async with joined(stage.port, member, resume=link.name, taken=0) as again:
            assert again.resumed == 0
            assert await link.closed() == BROKE
            assert (await stage.instance(member, again))["connected"]
            # The relay waits a second for an answer to its close.
            closing = asyncio.create_task(again.closed())
            async with joined(stage.port, member, resume="0" * 16, taken=0) as fresh:
                assert fresh.resumed is None
                assert (await closing)[0] == REPLACED


@pytest.mark.parametrize("taken", [1, 7, 2**53 - 1])
async def test_a_client_that_asks_for_frames_nobody_sent_loses_its_connection(
    stage: Stage, taken: int
) -> None:
    member = await stage.member()
    async with (
        joined(stage.port, member) as link,
        joined(stage.port, member, resume=link.name, taken=taken) as again,
    ):
        assert (await link.meanwhile(again.closed()))[0] == PROTOCOL
        assert (await stage.instance(member, link))["connected"]
        link.catalog("still")


async def test_the_newest_link_of_a_client_wins(stage: Stage) -> None:
    member = await stage.member()
    async with AsyncExitStack() as stack:
        links = [await stack.enter_async_context(joined(stage.port, member)) for _ in range(3)]
        for old in links[:-1]:
            assert (await old.closed())[0] == REPLACED
        links[-1].catalog("newest")
        shown = await stage.instance(member, links[-1])
        assert (shown["connected"], shown["locked"], shown["connects"]) == (True, None, 3)


async def test_t08_features_nobody_knows_are_left_out(stage: Stage) -> None:
    member = await stage.member()
    async with joined(stage.port, member, features=["time-travel"], versions=[1, 2, 99]) as link:
        link.catalog("plain")
        assert (await stage.instance(member, link))["connected"]


async def test_t08_without_a_common_version_there_is_no_link(stage: Stage) -> None:
    async with upgraded(stage.port) as link:
        hello = stage.honest.hello(stage.origin, versions=[99])
        link.handshake_frame(FrameType.HELLO, encode(hello))
        assert await link.closed() == NOT_AUTHENTICATED
    await stage.alive()


async def test_t10_a_handshake_that_stalls_is_closed(stage: Stage) -> None:
    member = await stage.member()
    async with upgraded(stage.port) as silent, upgraded(stage.port) as half:
        await half.challenged(encode(member.hello(stage.origin)))
        assert await silent.closed() == (POLICY, "handshake deadline")
        assert await half.closed() == (POLICY, "handshake deadline")
    await stage.alive()


EARLY: list[tuple[FrameType, int, bytes]] = [
    (FrameType.PROOF, 0, bytes(64)),
    (FrameType.READY, 0, bytes(64)),
    (FrameType.OPEN, 1, b"server"),
    (FrameType.DATA, 1, b"x"),
    (FrameType.CATALOG, 0, b"server"),
    (FrameType.REVOKED, 0, bytes(8)),
    (FrameType.PING, 0, bytes(8)),
]


@pytest.mark.parametrize(("kind", "stream", "payload"), EARLY)
@pytest.mark.parametrize("greeted", [False, True])
async def test_t11_nothing_passes_before_the_handshake_is_over(
    stage: Stage, kind: FrameType, stream: int, payload: bytes, greeted: bool
) -> None:
    async with upgraded(stage.port) as link:
        if greeted:
            if kind is FrameType.PROOF:
                kind, payload = FrameType.HELLO, b"{}"
            await link.challenged(encode(stage.honest.hello(stage.origin)))
        link.message(encode_message(0, 0, encode_frame(kind, stream, payload)))
        assert (await link.closed())[0] in (POLICY, PROTOCOL)
    await stage.alive()


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"{}",
        b"[]",
        b"{" * 4000,
        b'{"tunnel":"lab","tunnel":"lab"}',
        b"\xff",
        b'{"tunnel":NaN}',
        b"x" * 5000,
    ],
)
async def test_a_malformed_hello_is_refused(stage: Stage, payload: bytes) -> None:
    async with upgraded(stage.port) as link:
        link.handshake_frame(FrameType.HELLO, payload)
        assert (await link.closed())[0] in (POLICY, PROTOCOL, 1009)
    await stage.alive()


@pytest.mark.parametrize(
    "changed",
    [
        {"counter": -1},
        {"counter": 2**63},
        {"counter": 0},
        {"instance": "x"},
        {"tunnel": "../lab"},
        {"origin": "x" * 5000},
        {"versions": []},
        {"versions": list(range(1000))},
        {"program": "\n" * 10},
    ],
)
async def test_a_hello_with_an_impossible_value_is_refused(
    stage: Stage, changed: dict[str, Any]
) -> None:
    member = Member(stage.honest.key, stage.honest.instance, stage.honest.counter)
    async with upgraded(stage.port) as link:
        hello = encode(replace(member.hello(stage.origin), **changed))
        link.handshake_frame(FrameType.HELLO, hello)
        end = await refused_hello(link, member, hello)
        assert end[0] in (POLICY, PROTOCOL, 1009)
    assert (await stage.instance(stage.honest))["locked"] is None
    await stage.alive()


async def refused_hello(link: RawLink, member: Member, hello: bytes) -> tuple[int, str]:
    """Go on with the handshake if the relay does; returns how it closed."""
    try:
        challenge = await link.due(FrameType.CHALLENGE)
    except ConnectionError as error:
        return int(str(error).split(" ")[2]), ""
    link.handshake_frame(FrameType.PROOF, member.key.sign(client_transcript(hello, challenge)))
    return await link.closed()


async def test_a_flood_of_handshake_messages_is_cut(stage: Stage) -> None:
    async with upgraded(stage.port) as link:
        for _ in range(50):
            link.handshake_frame(FrameType.HELLO, b"{}")
        assert (await link.closed())[0] in (POLICY, PROTOCOL)
    await stage.alive()


async def test_an_instance_cannot_join_another_tunnel(stage: Stage) -> None:
    await stage.scene.lab.relay_json("tunnel", "create", "second", "--owner", "eve")
    eve = Member(instance=new_id())
    made = await stage.scene.lab.relay_json("tunnel", "rotate", "second")
    assert (await patiently(lambda: enrol(stage.port, made["join_code"], eve))).status == 200
    async with upgraded(stage.port) as link:
        await link.prove(eve, eve.hello(stage.origin, tunnel=TUNNEL))
        assert await link.closed() == NOT_AUTHENTICATED
    made = await stage.scene.lab.relay_json("tunnel", "rotate", "second")
    taken = Member(instance=stage.honest.instance)
    assert (await patiently(lambda: enrol(stage.port, made["join_code"], taken))).status == 401
    await stage.alive()
