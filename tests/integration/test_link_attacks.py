"""What an enrolled client may not do to its relay: attack rows T12 to T36 on a link that is up."""

import asyncio
import json
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio
import pytest

from shared.errors import ResetCode
from shared.wire.codec import encode_head, encode_reset
from shared.wire.frames import FLAG_END, FrameType, encode_frame, encode_message
from tests.helpers.agent import Reply, call, initialize
from tests.helpers.raw_link import (
    BINARY,
    CLOSE,
    CONT,
    PING,
    TEXT,
    RawLink,
    joined,
    ws_frame,
)
from tests.integration.hostile import Stage
from tests.integration.scene import SERVER

pytestmark = [pytest.mark.system, pytest.mark.asyncio(loop_scope="session")]

PROTOCOL, UNSUPPORTED, INVALID, POLICY, TOO_BIG = 1002, 1003, 1007, 1008, 1009
KIB = 1024
PLAIN = encode_head(200, [(b"content-type", b"application/json")])
EVENTS = encode_head(200, [(b"content-type", b"text/event-stream")])


@asynccontextmanager
async def linked(stage: Stage) -> AsyncIterator[RawLink]:
    """Open an honest client's link that offers `server`."""
    async with joined(stage.port, stage.honest) as link:
        link.catalog(SERVER)
        yield link


def numbered(link: RawLink, frames: bytes) -> bytes:
    """Write a message around these bytes with the numbers that are due."""
    return encode_message(link.sent, link.taken, frames)


def frame(kind: int, flags: int, length: int, stream: int, payload: bytes = b"") -> bytes:
    """Write a frame header with any values."""
    return struct.pack(">BBHI", kind, flags, length, stream) + payload


BAD_FRAMES = {
    "unknown type 0x00": frame(0x00, 0, 0, 0),
    "unknown type 0x2f": frame(0x2F, 0, 0, 0),
    "unknown type 0xff": frame(0xFF, 0, 0, 0),
    "reserved flag": frame(FrameType.DATA, 0x02, 1, 1, b"x"),
    "all flags": frame(FrameType.HEAD, 0xFF, 1, 1, b"x"),
    "END where none may be": frame(FrameType.CATALOG, FLAG_END, 6, 0, b"server"),
    "header cut short": b"\x12\0\0",
    "payload cut short": frame(FrameType.DATA, 0, 100, 1, b"x"),
    "stream frame on the link": frame(FrameType.DATA, 0, 1, 0, b"x"),
    "link frame on a stream": frame(FrameType.CATALOG, 0, 6, 1, b"server"),
    "t17 a stream that was never opened": frame(FrameType.HEAD, 0, len(PLAIN), 9, PLAIN),
    "t17 data on one": frame(FrameType.DATA, 0, 1, 2**32 - 1, b"x"),
    "t19 the client opens": encode_frame(FrameType.OPEN, 1, b"server"),
    "t19 the client requests": encode_frame(FrameType.REQUEST, 1, b"\0\0"),
    "t19 the client drains": encode_frame(FrameType.DRAIN, 0, b""),
    "t19 the client revokes": encode_frame(FrameType.REVOKE, 0, bytes(4) + b"0" * 32),
    "a second HELLO": encode_frame(FrameType.HELLO, 0, b"{}"),
    "a READY of the client": encode_frame(FrameType.READY, 0, bytes(64)),
    "a short PING": encode_frame(FrameType.PING, 0, b"1234"),
    "a long PONG": encode_frame(FrameType.PONG, 0, bytes(9)),
    "no credit": encode_frame(FrameType.CREDIT, 0, bytes(4)),
    "t36 too much credit": encode_frame(FrameType.CREDIT, 0, b"\xff" * 4) * 2,
    "credit for nothing": encode_frame(FrameType.CREDIT, 7, b"\0\0\0\1"),
    "a catalog with an address": encode_frame(FrameType.CATALOG, 0, b"http://10.0.0.1/"),
    "a catalog with one name twice": encode_frame(FrameType.CATALOG, 0, b"a\na"),
    "a catalog without end": encode_frame(
        FrameType.CATALOG, 0, b"\n".join([b"a%d" % n for n in range(300)])
    ),
}


@pytest.mark.parametrize("name", BAD_FRAMES)
async def test_t12_t13_t17_t19_a_frame_that_breaks_a_rule_ends_the_link(
    stage: Stage, name: str
) -> None:
    async with linked(stage) as link:
        link.message(numbered(link, BAD_FRAMES[name]))
        assert (await link.closed())[0] in (PROTOCOL, TOO_BIG)
    await stage.alive()


@pytest.mark.parametrize(
    "message",
    [b"", b"x" * 15, encode_message(7, 0, b""), encode_message(0, 99, b""), b"\xff" * 16],
)
async def test_t13_a_message_with_wrong_numbers_ends_the_link(stage: Stage, message: bytes) -> None:
    async with linked(stage) as link:
        link.message(message)
        assert (await link.closed())[0] == PROTOCOL
    await stage.alive()


async def test_t13_text_ends_the_link(stage: Stage) -> None:
    async with linked(stage) as link:
        link.write(ws_frame(TEXT, b"hello"))
        assert (await link.closed())[0] in (UNSUPPORTED, INVALID)
    await stage.alive()


WEBSOCKET = {
    "unmasked": ws_frame(BINARY, bytes(16), masked=False),
    "rsv1": ws_frame(BINARY, bytes(16), rsv=4),
    "rsv2": ws_frame(BINARY, bytes(16), rsv=2),
    "unknown opcode": ws_frame(0x3, b""),
    "continuation of nothing": ws_frame(CONT, b"x"),
    "a fragmented ping": ws_frame(PING, b"x", fin=False),
    "a long ping": ws_frame(PING, b"x" * 126),
    "a close of one byte": ws_frame(CLOSE, b"x"),
    "t36 a length of 2^63": struct.pack(">BBQ", 0x82, 0xFF, 2**63) + bytes(4),
    "t36 a length of 2^62": struct.pack(">BBQ", 0x82, 0xFF, 2**62) + bytes(4),
    # Its beginning: with more to send, our own end would fail at that before it reads the answer.
    "a message over the limit": ws_frame(BINARY, bytes(1024 * KIB + 1))[: 64 * KIB],
}


@pytest.mark.parametrize("name", WEBSOCKET)
async def test_t16_t36_what_is_not_websocket_ends_the_link(stage: Stage, name: str) -> None:
    async with linked(stage) as link:
        link.write(WEBSOCKET[name])
        assert (await link.closed())[0] in (PROTOCOL, UNSUPPORTED, TOO_BIG)
    await stage.alive()


async def test_t15_a_message_in_endless_pieces_ends_the_link(stage: Stage) -> None:
    async with linked(stage) as link:
        link.write(ws_frame(BINARY, b"x", fin=False))
        for _ in range(2000):
            link.write(ws_frame(CONT, b"", fin=False))
        link.pongs = False  # a PONG amid the pieces would be another offence
        assert (await link.closed())[0] == TOO_BIG
    await stage.alive()


async def test_t15_two_offences_at_once_end_the_link_with_a_word(stage: Stage) -> None:
    async with linked(stage) as link:
        pieces = ws_frame(BINARY, b"x", fin=False) + 300 * ws_frame(CONT, b"", fin=False)
        link.write(pieces + ws_frame(BINARY, b"x"))
        assert (await link.closed())[0] in (TOO_BIG, PROTOCOL)
    await stage.alive()


async def test_t15_a_message_may_come_byte_by_byte(stage: Stage) -> None:
    async with linked(stage) as link, stage.agent.open(call("echo")) as reply:
        stream = await link.opened()
        whole = numbered(link, encode_frame(FrameType.HEAD, stream, PLAIN))
        pieces = [whole[at : at + 1] for at in range(len(whole))]
        link.write(ws_frame(BINARY, pieces[0], fin=False))
        for piece in pieces[1:-1]:
            link.write(ws_frame(CONT, piece, fin=False))
            await asyncio.sleep(0)
        link.write(ws_frame(CONT, pieces[-1]))
        link.sent += 1
        link.frame(FrameType.DATA, stream, b"{}", FLAG_END)
        assert (await reply.end()).body == b"{}"


async def test_t28_a_flood_of_pings_ends_the_link(stage: Stage) -> None:
    async with linked(stage) as link:
        for _ in range(200):
            link.frame(FrameType.PING, 0, bytes(8))
        assert (await link.closed())[0] in (PROTOCOL, POLICY)
    async with linked(stage) as link:
        for _ in range(500):
            link.write(ws_frame(PING, b"x"))
        assert (await link.closed())[0] in (PROTOCOL, POLICY)
    await stage.alive()


async def test_t28_a_client_that_withholds_its_pongs_is_let_go(stage: Stage) -> None:
    async with linked(stage) as link, stage.agent.open(call("echo", id=5)) as reply:
        await link.opened()
        link.pongs = False
        answer = await reply.end()
        assert (answer.status, answer.error["id"]) == (502, 5)
        assert answer.error["data"] == {"origin": "relay", "delivery": "unknown"}
        await link.closed()
    await stage.alive()


def head(headers: bytes) -> bytes:
    """Write a response head with these lines, whatever they hold."""
    return b"200\ncontent-type\napplication/json\n" + headers


HEADS = {
    "carriage return": head(b"x-a\nv\r\nset-cookie: evil=1"),
    "nul": head(b"x-a\nv\0"),
    "a name without value": head(b"x-a"),
    "a name that is no token": head(b"x a\nv"),
    "a name in capitals": head(b"X-A\nv"),
    "an empty name": head(b"\nv"),
    "status 99": b"99",
    "status 101": b"101",
    "status 1000": b"1000",
    "status text": b"ok!",
    "nothing": b"",
}


@pytest.mark.parametrize("name", HEADS)
async def test_t20_a_malformed_head_is_one_clean_error_for_the_agent(
    stage: Stage, name: str
) -> None:
    async with linked(stage) as link, stage.agent.open(call("echo", id=6)) as reply:
        link.frame(FrameType.HEAD, await link.opened(), HEADS[name])
        answer = await reply.end()
        assert answer.status == 502
        assert answer.error["id"] == 6
        assert not answer.values("set-cookie")
        assert not answer.values("x-a")
    await stage.alive()


@pytest.mark.parametrize(
    "field",
    [
        *(b"set-cookie", b"location", b"access-control-allow-origin", b"www-authenticate"),
        *(b"transfer-encoding", b"connection", b"mcp-session-id", b"upgrade", b"server"),
    ],
)
async def test_a_client_cannot_speak_for_the_relay(stage: Stage, field: bytes) -> None:
    payload = encode_head(200, [(b"content-type", b"application/json"), (field, b"evil")])
    async with linked(stage) as link, stage.agent.open(call("echo")) as reply:
        stream = await link.opened()
        link.frame(FrameType.HEAD, stream, payload)
        link.frame(FrameType.DATA, stream, b"{}", FLAG_END)
        answer = await reply.end()
        assert answer.body == b"{}"
        assert "evil" not in str(answer.headers)


async def test_a_client_cannot_choose_an_mcp_session_id(stage: Stage) -> None:
    payload = encode_head(200, [(b"mcp-session-id", b"A" * 64)])
    async with linked(stage) as link, stage.agent.open(initialize()) as reply:
        stream = await link.opened()
        link.frame(FrameType.HEAD, stream, payload)
        link.frame(FrameType.DATA, stream, b"{}", FLAG_END)
        assert (await reply.end()).values("mcp-session-id") == []


async def answered(link: RawLink, reply: Reply, *frames: tuple[FrameType, bytes, int]) -> Reply:
    """Answer a call with these frames; returns the reply once nothing more comes."""
    stream = await link.opened()
    for kind, payload, flags in frames:
        link.frame(kind, stream, payload, flags)
    return await reply.broken_or_whole()


END, MORE = FLAG_END, 0
ILLEGAL: dict[str, list[tuple[FrameType, bytes, int]]] = {
    "data before a head": [(FrameType.DATA, b"x", MORE)],
    "an end before a head": [(FrameType.DATA, b"", END)],
    "an empty frame": [(FrameType.HEAD, PLAIN, MORE), (FrameType.DATA, b"", MORE)],
    "a second head": [(FrameType.HEAD, PLAIN, MORE), (FrameType.HEAD, EVENTS, MORE)],
    "a head after data": [
        (FrameType.HEAD, PLAIN, MORE),
        (FrameType.DATA, b"{", MORE),
        (FrameType.HEAD, EVENTS, END),
    ],
    "a reset": [
        (FrameType.HEAD, PLAIN, MORE),
        (FrameType.RESET, encode_reset(ResetCode(5), ""), 0),
    ],
}


@pytest.mark.parametrize("name", ILLEGAL)
async def test_t20_a_broken_answer_is_never_whole_and_never_mixed(stage: Stage, name: str) -> None:
    async with linked(stage) as link:
        async with stage.agent.open(call("echo", id=8)) as reply:
            answer = await answered(link, reply, *ILLEGAL[name])
        if answer.whole:
            assert (answer.status, answer.error["id"]) == (502, 8)
        else:
            assert answer.body in (b"", b"{")
        async with stage.agent.open(call("echo")) as reply:
            link.answer(await link.opened(), b'{"next":1}')
            assert (await reply.end()).body == b'{"next":1}'


async def test_t20_what_follows_the_end_is_dropped(stage: Stage) -> None:
    async with linked(stage) as link:
        async with stage.agent.open(call("echo")) as reply:
            stream = await link.opened()
            link.answer(stream, b'{"first":1}')
            link.frame(FrameType.DATA, stream, b"late", END)
            link.frame(FrameType.HEAD, stream, EVENTS)
            link.frame(FrameType.RESET, stream, encode_reset(ResetCode.CANCELLED, ""))
            assert (await reply.end()).body == b'{"first":1}'
        async with stage.agent.open(call("echo")) as reply:
            link.answer(await link.opened(), b'{"next":1}')
            assert (await reply.end()).body == b'{"next":1}'


async def test_t20_a_client_that_keeps_breaking_streams_loses_its_link(stage: Stage) -> None:
    async with linked(stage) as link:

        async def break_streams() -> None:
            for _ in range(40):
                async with stage.agent.open(call("echo")) as reply:
                    await answered(link, reply, (FrameType.DATA, b"x", MORE))
                    assert reply.status == 502

        with pytest.raises(ConnectionError, match="closed with 1002"):
            await break_streams()
    await stage.alive()


async def test_t20_a_body_longer_than_announced_is_not_passed_on(stage: Stage) -> None:
    payload = encode_head(200, [(b"content-type", b"text/plain"), (b"content-length", b"4")])
    smuggled = b"goodHTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nevil"
    for pieces in ([smuggled], [b"go", smuggled[2:]]):
        async with linked(stage) as link, stage.agent.open(call("echo")) as reply:
            stream = await link.opened()
            link.frame(FrameType.HEAD, stream, payload)
            for piece in pieces:
                link.frame(FrameType.DATA, stream, piece)
            link.frame(FrameType.DATA, stream, b"", END)
            await reply.broken()
            assert b"evil" not in b"".join(reply.chunks)
            assert reply.closed


async def test_t21_bytes_beyond_the_credit_end_the_stream(stage: Stage) -> None:
    async with linked(stage) as link, stage.agent.open(call("echo", id=9)) as reply:
        stream = await link.opened()
        link.frame(FrameType.HEAD, stream, PLAIN)
        await reply.head()
        reply.transport.pause_reading()
        for _ in range(400):
            link.frame(FrameType.DATA, stream, b"x" * 60 * KIB)
        await over(link)
        reply.transport.resume_reading()
        await reply.broken()
        assert not reply.whole
    await stage.alive()


async def over(link: RawLink) -> None:
    """Wait until the relay resets the stream or closes the link."""
    with anyio.fail_after(20):
        while True:
            try:
                kind = (await link.next_frame())[0]
            except (ConnectionError, asyncio.IncompleteReadError):
                return
            if kind is FrameType.RESET:
                return


async def test_t25_a_catalog_of_every_name_opens_no_other_tunnel(stage: Stage) -> None:
    async with joined(stage.port, stage.honest) as link:
        link.catalog(SERVER, "other", "admin", "lab")
        shown = await link.meanwhile(stage.scene.lab.relay_json("tunnel", "show", "lab"))
        assert shown["tunnel"]["upstreams"] == ["admin", "lab", "other", "server"]
        link.catalog(SERVER)
        async with stage.agent.open(call("echo")) as reply:
            link.answer(await link.opened(), b"{}")
            assert (await reply.end()).status == 200


async def test_what_the_relay_sends_holds_no_token_and_no_address(stage: Stage) -> None:
    assert stage.agent.token is not None
    async with linked(stage) as link:
        message = call("echo", id="mine")
        async with stage.agent.open(message) as reply:
            kind, _, stream, payload = await link.next_frame()
            while kind not in (FrameType.OPEN, FrameType.REQUEST):
                kind, _, stream, payload = await link.next_frame()
            if kind is FrameType.OPEN:
                payload += await link.due(FrameType.DATA)
            link.answer(stream, b"{}")
            await reply.end()
        assert stage.agent.token.get_secret_value().encode() not in payload
        assert b"127.0.0.1" not in payload
        assert b"http" not in payload
        assert payload.endswith(json.dumps(message).encode())
