"""A hostile relay: it holds the key that a client pinned, and says what a test wants."""

import asyncio
import json
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import anyio
from websockets.http11 import Request

from shared import grant
from shared.errors import CloseCode
from shared.grant import Grant
from shared.keys import PrivateKey
from shared.link import handshake
from shared.link.driver import LinkDriver
from shared.link.inbox import Inbox
from shared.link.websocket import ServerWebSocket
from shared.wire.codec import OpenHead, encode_open
from shared.wire.frames import FrameType, encode_frame, encode_message
from shared.wire.limits import LinkLimits
from shared.wire.mux import Role
from tests.shared.link.ends import Lane, Owner
from tunnel_client.identity import Identity

DEADLINE = 20.0


class RawRelayLink(Owner):
    """A client's link as its relay sees it; `epoch` and `instance` name it."""

    def __init__(self, relay: "RawRelay", instance: str, epoch: int) -> None:
        super().__init__()
        self.relay = relay
        self.instance = instance
        self.epoch = epoch
        self.heard = bytearray()
        """All that the client has sent since the handshake."""

    def signed(self, made: Grant, **changed: Any) -> bytes:
        """Sign a grant for this link; `changed` replaces fields."""
        mine: dict[str, Any] = {"instance": self.instance, "epoch": self.epoch}
        return grant.encode(replace(made, **(mine | changed)), self.relay.key)

    def call(self, session: str, upstream: str, message: Any, permit: str = "") -> Lane:
        """Open a stream with a call, as if the relay had judged it."""
        headers = [
            (b"content-type", b"application/json"),
            (b"accept", b"application/json, text/event-stream"),
        ]
        head = encode_open(OpenHead(upstream, "POST", session, "", headers, permit))
        return self.request(head, json.dumps(message).encode())


class _Hearing(LinkDriver):
    def message_received(self, message: bytes) -> None:
        assert isinstance(self._owner, RawRelayLink)
        self._owner.heard += message
        super().message_received(message)


@dataclass
class RawRelay:
    """Takes links of the client whose state is in `state_dir`, newest last.

    It takes `most` at a time, by their slots: one is enough to be hostile on. While it is `shut`
    it refuses upgrades with the status `refuses`; while it does not `speak` it takes them, and
    answers to nothing. An `older`
    one takes no HELLO that says more than it knows of.
    """

    key: PrivateKey
    state_dir: Path
    port: int = 0
    tls: ssl.SSLContext | None = None
    """A certificate for localhost, where there is one."""
    most: int = 1
    shut: bool = False
    refuses: int = 503
    older: bool = False
    speak: asyncio.Event = field(default_factory=asyncio.Event)
    silent_to: list[ServerWebSocket] = field(default_factory=list)
    links: list[RawRelayLink] = field(default_factory=list)
    _greeting: set[asyncio.Task[None]] = field(default_factory=set)

    @property
    def url(self) -> str:
        """What a client that believes its certificate, if it has one, dials."""
        return f"ws://127.0.0.1:{self.port}" if self.tls is None else f"wss://localhost:{self.port}"

    async def linked(self, count: int = 1) -> RawRelayLink:
        """Wait for so many links; returns the newest, once its client told its upstreams."""
        with anyio.fail_after(DEADLINE):
            while len(self.links) < count or not self.links[-1].facts:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        return self.links[-1]

    def judge(self, _request: Request) -> tuple[int, str] | None:
        """Say which upgrades are refused, and with what."""
        return (self.refuses, "not now") if self.shut else None

    def opened(self, socket: ServerWebSocket, inbox: Inbox) -> None:
        """Shake hands with who upgraded."""
        task = asyncio.get_running_loop().create_task(self._greet(socket, inbox))
        self._greeting.add(task)
        task.add_done_callback(self._greeting.discard)

    async def _greet(self, socket: ServerWebSocket, inbox: Inbox) -> None:
        self.silent_to.append(socket)
        await self.speak.wait()
        self.silent_to.remove(socket)
        if self.older:
            payload = await handshake.receive_frame(inbox, FrameType.HELLO)
            if {"process", "slot"} & json.loads(payload).keys():
                socket.close(CloseCode.PROTOCOL, "not authenticated")
                return
            frame = encode_frame(FrameType.HELLO, 0, payload)
            inbox.message_received(encode_message(0, 0, frame))
        origins = frozenset({self.url})
        claim = await handshake.challenge(socket, inbox, self.key, origins, self._find_key)
        if claim.hello.slot >= self.most:
            socket.close(CloseCode.TOO_MANY, "no more")
            return
        handshake.ready(socket, claim, LinkLimits(), self.key)
        link = RawRelayLink(self, claim.hello.instance, claim.hello.counter)
        link.driver = _Hearing(socket, Role.RELAY, LinkLimits(), link, claim.link)
        self.links.append(link)
        inbox.hand_over(link.driver)

    async def _find_key(self, _tunnel: str, _instance: str) -> bytes:
        return Identity.read(self.state_dir).key.public


@asynccontextmanager
async def raw_relay(
    key: PrivateKey, state_dir: Path, tls: ssl.SSLContext | None = None
) -> AsyncIterator[RawRelay]:
    """Listen with a key that a client pinned; links are gone afterwards."""
    relay = RawRelay(key, state_dir, tls=tls)
    relay.speak.set()
    server = await asyncio.get_running_loop().create_server(
        lambda: ServerWebSocket(relay.judge, relay.opened), "127.0.0.1", 0, ssl=tls
    )
    relay.port = server.sockets[0].getsockname()[1]
    try:
        yield relay
    finally:
        for link in relay.links:
            link.driver.close(CloseCode.GOING_AWAY, "the test is over")
        server.close()
