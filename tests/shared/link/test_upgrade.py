"""The upgrade to a WebSocket: what it says, and what it may end in at either side."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable

import anyio
import pytest
from websockets.http11 import Request
from websockets.utils import accept_key

from shared.errors import NotSpokenError, PeerError
from shared.link.inbox import Inbox, LinkLostError
from shared.link.websocket import ClientWebSocket, UpgradeRefusedError
from shared.version import SUBPROTOCOL
from tests.shared.link.ends import AUTHORIZATION, DEADLINE, listening, until, upgrade_by_hand

COMPRESSION = "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n"
ACCEPTED = (
    "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Accept: {accept}\r\n"
)


@contextlib.asynccontextmanager
async def answering(answer: Callable[[bytes], bytes]) -> AsyncIterator[tuple[int, list[bytes]]]:
    """Serve fixed bytes to whoever asks; returns the port and the requests that came."""
    requests: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        requests.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(answer(requests[-1]))
        with contextlib.suppress(ConnectionError):
            await writer.drain()
            await reader.read()
        writer.close()

    listener = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield listener.sockets[0].getsockname()[1], requests
    finally:
        listener.close()
        await listener.wait_closed()


async def dial(port: int) -> Inbox:
    """Dial and wait for the upgrade; the socket is gone afterwards."""
    _, client = await asyncio.get_running_loop().create_connection(
        lambda: ClientWebSocket(f"ws://localhost:{port}/tunnel", AUTHORIZATION), "127.0.0.1", port
    )
    try:
        with anyio.fail_after(DEADLINE):
            return await client.opened()
    finally:
        client.abort()
        await until(lambda: client._lost)


def accepted(request: bytes, *lines: str) -> bytes:
    """Return a 101 for a request, with further header lines."""
    fields = [line.partition(b": ")[::2] for line in request.split(b"\r\n")]
    key = {name.lower(): value for name, value in fields}[b"sec-websocket-key"].decode()
    head = ACCEPTED.format(accept=accept_key(key)) + "".join(f"{line}\r\n" for line in lines)
    return head.encode() + b"\r\n"


async def test_the_upgrade_names_path_tunnel_and_subprotocol_and_offers_no_compression_t16() -> (
    None
):
    """T16: compression is never offered."""
    async with answering(lambda _: b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n") as (
        port,
        requests,
    ):
        with pytest.raises(UpgradeRefusedError):
            await dial(port)
    lines = requests[0].decode().split("\r\n")
    assert lines[0] == "GET /tunnel HTTP/1.1"
    assert f"Authorization: {AUTHORIZATION}" in lines
    assert f"Sec-WebSocket-Protocol: {SUBPROTOCOL}" in lines
    assert "extensions" not in requests[0].decode().lower()


@pytest.mark.parametrize("status", [401, 403, 404, 429, 503])
async def test_a_refused_upgrade_says_its_status(status: int) -> None:
    async with listening(lambda _: (status, "no")) as port:
        with pytest.raises(UpgradeRefusedError) as caught:
            await dial(port)
    assert caught.value.status == status


@pytest.mark.parametrize("status", [301, 302, 307, 308])
async def test_a_redirect_is_not_followed_t09(status: int) -> None:
    """T09: the client dials what it was configured to dial, nothing else."""
    async with answering(lambda _: b"") as (elsewhere, followed):
        location = f"Location: http://127.0.0.1:{elsewhere}/tunnel"
        answer = f"HTTP/1.1 {status} Moved\r\n{location}\r\nContent-Length: 0\r\n\r\n".encode()
        async with answering(lambda _: answer) as (port, requests):
            with pytest.raises(UpgradeRefusedError) as caught:
                await dial(port)
    assert caught.value.status == status
    assert len(requests) == 1
    assert followed == []


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (lambda _: b"\x16\x03\x01 this is not HTTP\r\n\r\n", LinkLostError),
        (lambda _: b"HTTP/1.1 101 " + b"x" * 100_000, LinkLostError),
        (lambda request: accepted(request), NotSpokenError),
        (lambda request: accepted(request, "Sec-WebSocket-Protocol: other"), PeerError),
        (
            lambda request: accepted(
                request, f"Sec-WebSocket-Protocol: {SUBPROTOCOL}", COMPRESSION.strip()
            ),
            PeerError,
        ),
        (lambda request: accepted(request.replace(b"Key: ", b"Key: A")), PeerError),
    ],
    ids=["garbage", "endless line", "no subprotocol", "other", "compression", "wrong accept"],
)
async def test_an_answer_that_is_no_upgrade_is_refused_t08_t16(
    answer: Callable[[bytes], bytes], error: type[PeerError]
) -> None:
    """T08, T16: another subprotocol or an extension nobody offered ends the attempt."""
    async with answering(answer) as (port, _):
        with pytest.raises(error):
            await dial(port)


async def test_a_connection_that_breaks_during_the_upgrade_is_reported() -> None:
    async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.close()

    listener = await asyncio.start_server(hang_up, "127.0.0.1", 0)
    async with listener:
        with pytest.raises(LinkLostError):
            await dial(listener.sockets[0].getsockname()[1])


async def test_compression_that_is_offered_is_never_taken_t16() -> None:
    """T16: no extension is negotiated, and a compressed frame ends the link."""
    async with listening(lambda _: None) as port:
        head, reader, writer = await upgrade_by_hand(port, COMPRESSION)
        assert head.startswith(b"HTTP/1.1 101 ")
        assert b"extensions" not in head.lower()
        rsv1_binary = bytes([0xC2, 0x81, 0, 0, 0, 0, 0x01])
        writer.write(rsv1_binary)
        with anyio.fail_after(DEADLINE):
            answer = await reader.readexactly(4)
        assert answer[0] == 0x88
        assert int.from_bytes(answer[2:]) == 1002
        writer.close()
        await writer.wait_closed()


async def test_who_may_not_come_in_never_reaches_the_opener() -> None:
    seen: list[Request] = []

    def admit(request: Request) -> tuple[int, str]:
        seen.append(request)
        return 401, "name the tunnel"

    async with listening(admit) as port:
        head, reader, writer = await upgrade_by_hand(port)
        assert head.startswith(b"HTTP/1.1 401 ")
        with anyio.fail_after(DEADLINE):
            assert (await reader.read()).endswith(b"name the tunnel\n")
        writer.close()
        await writer.wait_closed()
    assert seen[0].path == "/tunnel"
