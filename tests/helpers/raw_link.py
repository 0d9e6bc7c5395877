"""A hostile client: a link built byte by byte, so that tests can break every rule of the wire."""

import asyncio
import base64
import json
import os
import struct
import time
from collections.abc import AsyncIterator, Awaitable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

import anyio

from shared.ids import new_id
from shared.keys import PrivateKey
from shared.version import SUBPROTOCOL
from shared.wire.codec import encode_catalog, encode_head
from shared.wire.frames import (
    FLAG_END,
    UNNUMBERED,
    Frame,
    FrameType,
    decode_frames,
    encode_frame,
    encode_message,
)
from shared.wire.handshake import Hello, client_transcript, encode, link_id

DEADLINE = 20.0
CONT, TEXT, BINARY, CLOSE, PING, PONG = 0x0, 0x1, 0x2, 0x8, 0x9, 0xA
BROKE = (1006, "")
OPENING = frozenset({FrameType.OPEN, FrameType.REQUEST})
T = TypeVar("T")


@dataclass
class Member:
    """An enrolled client instance; `counter` is what it said last."""

    key: PrivateKey = field(default_factory=PrivateKey.generate)
    instance: str = field(default_factory=new_id)
    counter: int = 0

    def hello(self, origin: str, **changed: Any) -> Hello:
        """Say who we are, with a counter that rose; `changed` replaces fields."""
        self.counter += 1
        good = Hello(
            tunnel="lab",
            instance=self.instance,
            counter=self.counter,
            origin=origin,
            versions=[1],
            features=[],
            time=int(time.time()),
            program="raw",
        )
        return replace(good, **changed)


def ws_frame(
    opcode: int, payload: bytes, *, fin: bool = True, rsv: int = 0, masked: bool = True
) -> bytes:
    """Write one WebSocket frame (RFC 6455 section 5.2); the mask is zeros."""
    first = (0x80 if fin else 0) | rsv << 4 | opcode
    mask = 0x80 if masked else 0
    size = len(payload)
    if size < 126:
        head = struct.pack(">BB", first, mask | size)
    elif size < 65536:
        head = struct.pack(">BBH", first, mask | 126, size)
    else:
        head = struct.pack(">BBQ", first, mask | 127, size)
    return head + (bytes(4) if masked else b"") + payload


class RawLink:
    """One WebSocket; `status` and `fields` are the relay's answer to the upgrade."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self.writer = writer
        self.status = 0
        self.fields: dict[str, str] = {}
        self.pongs = True
        self.name = ""
        """What both ends call the link in their records."""
        self.resumed: int | None = None
        """Frames of the link before that the relay took, if it goes on with that one."""
        self.sent = 0
        self.taken = 0
        self._frames: list[Frame] = []
        self._held = bytearray()
        self._close: bytes | None = None

    async def upgrade(self, lines: Sequence[str], path: str = "/tunnel") -> int:
        """Ask for a WebSocket with these header lines; returns the status."""
        head = "\r\n".join([f"GET {path} HTTP/1.1", *lines, "", ""])
        self.writer.write(head.encode("latin-1"))
        with anyio.fail_after(DEADLINE):
            answer = await self._reader.readuntil(b"\r\n\r\n")
        first, *rest = answer.decode("latin-1").split("\r\n")
        self.status = int(first.split(" ")[1])
        pairs = (line.partition(": ") for line in rest if line)
        self.fields = {name.lower(): value for name, _, value in pairs}
        return self.status

    def write(self, data: bytes) -> None:
        """Send bytes as they are."""
        self.writer.write(data)

    def message(self, data: bytes) -> None:
        """Send one binary message."""
        self.write(ws_frame(BINARY, data))

    def handshake_frame(self, kind: FrameType, payload: bytes) -> None:
        """Send one frame of the handshake."""
        self.message(encode_message(0, 0, encode_frame(kind, 0, payload)))

    def frame(self, kind: FrameType, stream: int = 0, payload: bytes = b"", flags: int = 0) -> None:
        """Send one frame with the numbers that are due."""
        self.message(
            encode_message(self.sent, self.taken, encode_frame(kind, stream, payload, flags))
        )
        if kind not in UNNUMBERED:
            self.sent += 1

    def catalog(self, *upstreams: str) -> None:
        """Offer upstreams."""
        self.frame(FrameType.CATALOG, 0, encode_catalog(list(upstreams)))

    def answer(self, stream: int, body: bytes, status: int = 200) -> None:
        """Answer a stream whole."""
        headers = [(b"content-type", b"application/json")]
        self.frame(FrameType.HEAD, stream, encode_head(status, headers))
        self.frame(FrameType.DATA, stream, body, FLAG_END)

    async def next_frame(self) -> Frame:
        """Return the next frame of the relay; its PINGs are answered unless `pongs` is off."""
        while True:
            while not self._frames:
                opcode, payload = await self._read()
                if opcode == BINARY:
                    self._frames = list(decode_frames(payload))
                elif opcode == CLOSE:
                    code, reason = close_of(payload)
                    raise ConnectionError(f"closed with {code} {reason}")
            frame = self._frames.pop(0)
            if frame[0] not in UNNUMBERED:
                self.taken += 1
            if frame[0] is not FrameType.PING:
                return frame
            if self.pongs:
                self.frame(FrameType.PONG, 0, frame[3])

    async def due(self, kind: FrameType) -> bytes:
        """Return the payload of the next frame, which must be of this kind."""
        found = await self.next_frame()
        assert found[0] is kind, found
        return found[3]

    async def opened(self) -> int:
        """Return the id of the next stream the relay opens."""
        while True:
            kind, _, stream, _ = await self.next_frame()
            if kind in OPENING:
                return stream

    async def closed(self) -> tuple[int, str]:
        """Read until the end; returns the close code and reason, 1006 when none came."""
        while True:
            try:
                opcode, payload = await self._read()
            except (asyncio.IncompleteReadError, OSError):
                return BROKE
            if opcode == CLOSE:
                return close_of(payload)
            if opcode == BINARY and self.pongs:
                for kind, _, _, said in decode_frames(payload):
                    if kind is FrameType.PING:
                        self.frame(FrameType.PONG, 0, said)

    async def meanwhile(self, work: Awaitable[T]) -> T:
        """Return what `work` comes to; PINGs are answered meanwhile, the rest is for later."""
        answering = asyncio.ensure_future(self._answer_pings())
        try:
            return await work
        finally:
            answering.cancel()
            await asyncio.gather(answering, return_exceptions=True)

    async def _answer_pings(self) -> None:
        while True:
            opcode, payload = await self._read()
            if opcode == CLOSE:
                self._close = payload
                return
            if opcode == BINARY:
                for frame in decode_frames(payload):
                    if frame[0] is FrameType.PING:
                        self.frame(FrameType.PONG, 0, frame[3])
                    else:
                        self._frames.append(frame)

    async def _read(self) -> tuple[int, bytes]:
        if self._close is not None:
            return CLOSE, self._close
        with anyio.fail_after(DEADLINE):
            while (found := self._whole()) is None:
                piece = await self._reader.read(65536)
                if not piece:
                    raise asyncio.IncompleteReadError(bytes(self._held), None)
                self._held += piece
            return found

    def _whole(self) -> tuple[int, bytes] | None:
        """Take the next WebSocket frame of what came: its opcode and payload."""
        held, at = self._held, 2
        if len(held) < at:
            return None
        first, size = held[:at]
        assert size < 128, "servers do not mask"
        if size > 125:
            at += 2 if size == 126 else 8
            size = int.from_bytes(held[2:at])
            if len(held) < at:
                return None
        if len(held) < at + size:
            return None
        payload = bytes(held[at : at + size])
        del held[: at + size]
        return first & 0x0F, payload

    # The handshake, step by step

    async def challenged(self, hello: bytes) -> bytes:
        """Send HELLO; returns the payload of CHALLENGE."""
        self.handshake_frame(FrameType.HELLO, hello)
        return await self.due(FrameType.CHALLENGE)

    async def prove(self, member: Member, hello: Hello, **more: Any) -> None:
        """Run the handshake up to PROOF; `more` is said in HELLO besides."""
        payload = encode(hello)
        if more:
            payload = json.dumps(json.loads(payload) | more).encode()
        challenge = await self.challenged(payload)
        self.name = link_id(payload, challenge)
        proof = member.key.sign(client_transcript(payload, challenge))
        self.handshake_frame(FrameType.PROOF, proof)

    async def join(self, member: Member, origin: str, **changed: Any) -> None:
        """Run the whole handshake."""
        await self.prove(member, member.hello(origin, **changed))
        ready = json.loads((await self.due(FrameType.READY))[64:])
        self.resumed = ready["taken"]


def close_of(payload: bytes) -> tuple[int, str]:
    """Read the payload of a close frame."""
    return (int.from_bytes(payload[:2], "big"), payload[2:].decode()) if payload else (1005, "")


def upgrade_lines(host: str, *, authorization: str | None = "MCP-Tunnel lab") -> list[str]:
    """Return the header lines of a good upgrade."""
    lines = [
        f"Host: {host}",
        "Connection: Upgrade",
        "Upgrade: websocket",
        "Sec-WebSocket-Version: 13",
        f"Sec-WebSocket-Key: {base64.b64encode(os.urandom(16)).decode()}",
        f"Sec-WebSocket-Protocol: {SUBPROTOCOL}",
    ]
    return lines if authorization is None else [*lines, f"Authorization: {authorization}"]


@asynccontextmanager
async def dialled(port: int) -> AsyncIterator[RawLink]:
    """Connect without a word; the connection ends with the block."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        yield RawLink(reader, writer)
    finally:
        writer.transport.abort()


@asynccontextmanager
async def upgraded(port: int) -> AsyncIterator[RawLink]:
    """Connect and upgrade; the handshake is still to come."""
    async with dialled(port) as link:
        assert await link.upgrade(upgrade_lines(f"127.0.0.1:{port}")) == 101, link.fields
        yield link


@asynccontextmanager
async def joined(port: int, member: Member, **changed: Any) -> AsyncIterator[RawLink]:
    """Open a link as a client would."""
    async with upgraded(port) as link:
        await link.join(member, f"ws://127.0.0.1:{port}", **changed)
        yield link
