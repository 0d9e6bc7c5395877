"""Messages over a WebSocket: whole and in order until it ends, whatever a hostile peer sends."""

import asyncio
import contextlib
import gc
import ssl
import weakref
from collections.abc import Callable
from pathlib import Path

import anyio
import anyio.lowlevel
import pytest
import uvloop

from shared.errors import PeerError
from shared.link.inbox import MAX_EARLY_MESSAGES, Inbox, LinkLostError
from shared.link.websocket import (
    MAX_FRAGMENTS,
    MAX_IDLE_PINGS,
    WRITE_HIGH_WATER,
    ClientWebSocket,
    ServerWebSocket,
)
from shared.wire.limits import MAX_MESSAGE_BYTES
from tests.helpers.tls import Authority
from tests.shared.link.ends import (
    AUTHORIZATION,
    DEADLINE,
    Recorder,
    Sockets,
    listening,
    sockets,
    until,
    upgrade_by_hand,
)


def record(ends: Sockets) -> tuple[Recorder, Recorder]:
    """Return recorders for the server's and the client's end."""
    return ends.record(server=True), ends.record()


async def test_messages_of_any_size_arrive_whole_and_in_order() -> None:
    async with sockets() as ends:
        server, client = record(ends)
        messages = [b"", b"x", b"y" * 1000, b"z" * MAX_MESSAGE_BYTES]
        for message in messages:
            ends.client.send(message)
            ends.server.send(message)
        await until(lambda: len(server.messages) == len(client.messages) == 4)
        assert server.messages == client.messages == messages


async def test_a_message_in_fragments_is_put_together() -> None:
    async with sockets() as ends:
        server, _ = record(ends)
        ends.client._ws.send_binary(b"a", fin=False)
        ends.client._ws.send_continuation(b"b", fin=False)
        ends.client._ws.send_ping(b"between")
        ends.client._ws.send_continuation(b"c", fin=True)
        ends.client.send(b"next")
        await until(lambda: len(server.messages) == 2)
        assert server.messages == [b"abc", b"next"]


async def test_bytes_that_drip_are_put_together() -> None:
    async with listening(lambda _: None) as port:
        _, reader, writer = await upgrade_by_hand(port)
        for one in bytes([0x89, 0x82, 0, 0, 0, 0]) + b"hi":
            writer.write(bytes([one]))
            await writer.drain()
        with anyio.fail_after(DEADLINE):
            assert await reader.readexactly(4) == b"\x8a\x02hi"
        writer.close()
        await writer.wait_closed()


async def test_why_a_socket_is_closed_reaches_the_other_side() -> None:
    async with sockets() as ends:
        server, client = record(ends)
        ends.server.send(b"last words")
        ends.server.close(4403, "revoked")
        ends.server.send(b"never sent")
        await until(lambda: client.lost and server.lost)
        assert client.messages == [b"last words"]
        assert client.lost == [(4403, "revoked")]
        assert len(server.lost) == 1


async def test_a_cut_is_reported_once_to_each_side() -> None:
    async with sockets() as ends:
        server, client = record(ends)
        ends.client.abort()
        await until(lambda: client.lost and server.lost)
        for ((code, why),) in (server.lost, client.lost):
            assert (code, why.partition(":")[0]) == (1006, "the connection broke")


async def test_a_peer_that_does_not_answer_a_close_is_dropped() -> None:
    async with sockets() as ends:
        server, _ = record(ends)
        reading = ends.client._transport
        assert reading is not None
        reading.pause_reading()
        ends.server.close(1001, "going")
        await until(lambda: server.lost)


async def test_a_socket_that_is_closing_passes_nothing_on() -> None:
    async with sockets() as ends:
        server, client = record(ends)
        ends.client._ws.send_text(b"not binary")
        ends.client._ws.send_binary(b"after")
        ends.client._ws.send_binary(b"fragment", fin=False)
        ends.client._write_out()
        await until(lambda: client.lost)
        assert server.messages == []


@pytest.mark.parametrize(("way", "error"), [("forget", ConnectionResetError), ("abort", None)])
async def test_a_socket_that_is_forgotten_leaves_nothing_for_the_kernel_to_send(
    way: str, error: type[Exception] | None
) -> None:
    """Else a proof that was given up arrives when the network is back."""
    ends: list[Exception | None] = []
    asked, over = anyio.Event(), anyio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        asked.set()
        try:
            ends.append(None if await reader.read() == b"" else EOFError())
        except ConnectionResetError as reset:
            ends.append(reset)
        writer.close()
        over.set()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as listener:
        port = listener.sockets[0].getsockname()[1]
        _, client = await asyncio.get_running_loop().create_connection(
            lambda: ClientWebSocket(f"ws://127.0.0.1:{port}/tunnel", AUTHORIZATION),
            "127.0.0.1",
            port,
        )
        with anyio.fail_after(DEADLINE):
            await asked.wait()
            getattr(client, way)()
            await over.wait()
    assert [type(end) for end in ends] == [type(None) if error is None else error]


def test_a_lost_socket_lets_go_of_its_tls_state_without_a_collection(tmp_path: Path) -> None:
    authority = Authority()
    trusting = ssl.create_default_context(cafile=authority.write(tmp_path / "ca.pem"))

    async def lose() -> None:
        async with sockets(authority.server("localhost"), trusting) as ends:
            transport = ends.server._transport
            assert transport is not None
            state = weakref.ref(transport.get_extra_info("ssl_object"))
            del transport
            ends.client.abort()
            await until(lambda: state() is None)

    gc.disable()
    try:
        uvloop.run(lose())
    finally:
        gc.enable()


# Hostile peers ---------------------------------------------------------------------------------


def text(client: ClientWebSocket) -> None:
    client._ws.send_text(b"hello")


def fragments(client: ClientWebSocket) -> None:
    client._ws.send_binary(b"", fin=False)
    for _ in range(MAX_FRAGMENTS):
        client._ws.send_continuation(b"", fin=False)


def oversize(client: ClientWebSocket) -> None:
    client._ws.send_binary(bytes(MAX_MESSAGE_BYTES + 1))


def oversize_in_fragments(client: ClientWebSocket) -> None:
    client._ws.send_binary(bytes(MAX_MESSAGE_BYTES // 2), fin=False)
    client._ws.send_continuation(bytes(MAX_MESSAGE_BYTES), fin=True)


def pings(client: ClientWebSocket) -> None:
    for _ in range(MAX_IDLE_PINGS + 1):
        client._ws.send_ping(b"x")


@pytest.mark.parametrize(
    ("misbehave", "code"),
    [
        (text, 1003),
        (fragments, 1009),
        (oversize, 1009),
        (oversize_in_fragments, 1009),
        (pings, 1008),
    ],
)
async def test_a_peer_that_misbehaves_is_told_why_and_loses_the_socket_t13_t15(
    misbehave: Callable[[ClientWebSocket], None], code: int
) -> None:
    """T13, T15, T28: text, floods of fragments and pings, messages over the limit."""
    async with sockets() as ends:
        server, client = record(ends)
        misbehave(ends.client)
        ends.client._write_out()
        await until(lambda: client.lost and server.lost)
        assert client.lost[0][0] == code
        assert server.messages == []


async def test_pings_between_messages_are_answered_for_ever() -> None:
    async with sockets() as ends:
        server, _ = record(ends)
        for _ in range(4):
            for _ in range(MAX_IDLE_PINGS):
                ends.client._ws.send_ping(b"x")
            ends.client.send(b"message")
        await until(lambda: len(server.messages) == 4)
        assert not server.lost


async def test_a_peer_that_pings_and_reads_nothing_fills_no_memory_t13() -> None:
    """T13: messages between the pings do not help it, nor what the kernel holds of the answers."""
    opened: list[ServerWebSocket] = []
    async with listening(lambda _: None, opened.append) as port:
        _, _, writer = await upgrade_by_hand(port)
        await until(lambda: opened)
        server = opened[0]
        server.handler = taken = Recorder()
        writer.transport.pause_reading()  # type: ignore[attr-defined] # it is for reading too
        masked = bytes(4) + b"p" * 125
        block = bytes([0x82, 0x80]) + bytes(4)
        block += (bytes([0x89, 0xFD]) + masked) * MAX_IDLE_PINGS
        largest = 0
        with anyio.move_on_after(DEADLINE), contextlib.suppress(ConnectionError):
            while not taken.lost:
                writer.write(block * 8)
                await writer.drain()
                if server._transport is not None:
                    largest = max(largest, server._transport.get_write_buffer_size())
                await anyio.lowlevel.checkpoint()
        assert taken.lost
        assert largest < 2 * WRITE_HIGH_WATER
        writer.transport.abort()


async def test_more_messages_than_a_handshake_has_close_the_socket() -> None:
    async with sockets() as ends:
        client = ends.record()
        for _ in range(9):
            ends.client.send(b"early")
        await until(lambda: client.lost)
        assert client.lost[0][0] == 1002


async def test_messages_that_came_early_are_handed_over_in_order() -> None:
    async with sockets() as ends:
        for at in range(3):
            ends.client.send(b"%d" % at)
        with anyio.fail_after(DEADLINE):
            assert await ends.server_inbox.receive() == b"0"
        await until(lambda: len(ends.server_inbox._messages) == 2)
        recorder = Recorder()
        ends.server_inbox.hand_over(recorder)
        assert recorder.messages == [b"1", b"2"]


async def test_a_loss_before_the_hand_over_is_not_forgotten() -> None:
    async with sockets() as ends:
        ends.client.close(4403, "revoked")
        with anyio.fail_after(DEADLINE), pytest.raises(LinkLostError) as caught:
            await ends.server_inbox.receive()
        assert (caught.value.code, caught.value.reason) == (4403, "revoked")
        recorder = Recorder()
        ends.server_inbox.hand_over(recorder)
        assert recorder.lost == [(4403, "revoked")]


async def test_a_slow_reader_is_felt_and_forgotten_again() -> None:
    async with sockets() as ends:
        server, _ = record(ends)
        reading = ends.server._transport
        assert reading is not None
        reading.pause_reading()
        sent = 0
        while ends.client.writable:
            ends.client.send(bytes(MAX_MESSAGE_BYTES))
            sent += 1
            await asyncio.sleep(0)
        reading.resume_reading()
        await until(lambda: ends.client.writable and len(server.messages) == sent)


def test_empty_messages_are_bounded_as_well_as_bytes() -> None:
    """A client holds a lot of what a relay sends again; nothing at all adds up to no bytes."""
    inbox = Inbox(early_bytes=1 << 30)
    for _ in range(MAX_EARLY_MESSAGES):
        inbox.message_received(b"")
    with pytest.raises(PeerError, match="too many messages"):
        inbox.message_received(b"")
    assert len(inbox._messages) == MAX_EARLY_MESSAGES


def test_a_client_holds_what_a_link_that_goes_on_sends_early_and_a_relay_holds_little() -> None:
    patient, strict = Inbox(early_bytes=100), Inbox()
    for _ in range(20):
        patient.message_received(b"early")
    with pytest.raises(PeerError):
        patient.message_received(b"more")
    for _ in range(8):
        strict.message_received(b"early")
    with pytest.raises(PeerError):
        strict.message_received(b"more")
