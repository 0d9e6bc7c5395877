"""The link itself: is our key accepted, and does a ping come back.

Two processes of one instance are one too many: the relay closes the older one's links, and takes a
counter that does not grow as the sign of a copied key. So while a daemon runs nothing is dialled
in its name, and its own link is asked about. Without one, a short link is made under the lock of
the state folder, with a counter of its own; it offers no upstream, so no call is sent to it.
"""

import time
from collections.abc import Mapping
from typing import Any

import anyio

from shared.checkup import SkippedError
from shared.errors import AuthError, CloseCode, NotSpokenError, PeerError
from shared.keys import decode_public, key_fingerprint
from shared.link import handshake
from shared.link.driver import LinkDriver
from shared.link.inbox import LinkLostError
from shared.link.owner import StreamHandler
from shared.link.websocket import ClientWebSocket
from shared.version import VERSION
from shared.wire.handshake import Hello
from shared.wire.mux import Role
from shared.wire.tools import ToolWord
from tunnel_client.dial import dial
from tunnel_client.doctor.errors import (
    KeyCopiedError,
    KeyRefusedError,
    KeyRevokedError,
    LinkClosedError,
    NoLinkError,
    RelayNotReadyError,
    WrongRelayKeyError,
)
from tunnel_client.doctor.scene import Scene
from tunnel_client.doctor.way import opened
from tunnel_client.errors import ClientError, NotARelayError
from tunnel_client.identity import Identity, StateLock


class _Idle:
    """Owns a link that serves nothing: it only carries out what the relay orders."""

    def __init__(self) -> None:
        self.driver: LinkDriver | None = None
        self.closed: tuple[int, str] | None = None

    def on_open(self, stream: int, head: bytes, end: bool) -> StreamHandler | None:
        return None

    def on_request(self, stream: int, head: bytes, body: bytes) -> StreamHandler | None:
        return None

    def on_catalog(self, upstreams: list[str]) -> None: ...

    def on_drain(self, detail: str) -> None: ...

    def on_revoke(self, order: int, session: str) -> None:
        # No daemon runs, so nothing of that session runs here either.
        if self.driver is not None:
            self.driver.revoked(order, 0)

    def on_revoked(self, order: int, ended: int) -> None: ...

    def on_grant(self, grant: bytes) -> None: ...

    def on_tools(self, upstream: str, tools: list[ToolWord]) -> None: ...

    def on_late(self, whose: str, answer: bytes) -> None: ...

    def on_cut(self, seconds: float, reason: str) -> None: ...

    def on_lost(self, code: int, reason: str) -> None:
        self.closed = (code, reason)


async def signature(scene: Scene) -> str:
    """Does the relay accept our key, and we its?"""
    if scene.daemon is not None:
        return f"accepted: the daemon's link, epoch {_daemons(scene, scene.daemon).get('epoch')}"
    identity = _held(scene)
    if scene.driver is not None and not scene.driver.lost:  # at the address before this one
        scene.driver.close(CloseCode.NORMAL, "the doctor goes on")
    scene.driver = None
    target, relay = scene.way(), scene.settings.relay
    address = f"{target.relay.scheme}://{target.relay.authority}"
    _, socket = await dial(
        target, lambda: ClientWebSocket(f"{address}/tunnel", f"MCP-Tunnel {relay.tunnel}")
    )
    owner = _Idle()
    scene.stack.callback(_close, owner, socket)
    inbox = await opened(socket, target.relay.authority)
    hello = Hello(
        tunnel=relay.tunnel,
        instance=identity.instance,
        counter=identity.next_counter(),
        origin=address,
        versions=sorted(handshake.VERSIONS),
        features=sorted(handshake.FEATURES),
        time=int(time.time()),
        program=f"tunnel-client/{VERSION} doctor",  # one link needs no process
    )
    try:
        agreed = await handshake.prove(
            socket, inbox, hello, identity.key, decode_public(relay.public_key)
        )
    except LinkLostError as error:
        raise judge_close(error.code, error.reason) from None
    except handshake.WrongRelayError as error:
        raise WrongRelayKeyError(str(error)) from None
    except AuthError as error:
        raise WrongRelayKeyError(f"the relay did not prove itself: {error}") from None
    except NotSpokenError as error:
        raise NotARelayError.at(target.relay.authority, error) from None
    except PeerError as error:
        raise LinkClosedError(str(error)) from None
    owner.driver = scene.driver = LinkDriver(socket, Role.CLIENT, agreed.limits, owner, agreed.link)
    scene.facts["owner"] = owner
    inbox.hand_over(owner.driver)
    return f"accepted: key {key_fingerprint(identity.key.public)}, epoch {hello.counter}"


def _held(scene: Scene) -> Identity:
    """Return who we are, and hold the state folder from now on."""
    if scene.held is None:
        scene.stack.enter_context(StateLock(scene.settings.state_dir))
        scene.held = Identity.read(scene.settings.state_dir)
    return scene.held


def _daemons(scene: Scene, daemon: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return what the daemon says of its link: of several addresses, to the one looked at.

    Raises NoLinkError, and SkippedError where it keeps no link to this address.
    """
    where, links = "", [daemon]
    if len(scene.targets) > 1 and "links" in daemon:
        where, there = " there", scene.way().relay.authority
        links = [each for each in daemon["links"] if each.get("relay") == there]
        if not links:
            raise SkippedError("the daemon keeps no link there now: it has fewer than addresses")
    for each in links:
        if each.get("connected"):
            return each
    why = links[0].get("last_error") or "it is dialling"
    raise NoLinkError(f"the daemon that runs here has no link{where}: {why}")


def _close(owner: _Idle, socket: ClientWebSocket) -> None:
    if owner.driver is None:
        socket.abort()
    elif not owner.driver.lost:
        owner.driver.close(CloseCode.NORMAL, "the doctor is done")


def judge_close(code: int, reason: str) -> ClientError:
    """Return what a close during or after the handshake means for an operator. Pure."""
    said = f"the relay closed the link: {code} {reason}".rstrip()
    match code:
        case CloseCode.POLICY:
            return KeyRefusedError(f"{said}; it does not know this key for this tunnel")
        case CloseCode.REVOKED:
            return KeyRevokedError(f"{said}; the key is revoked or the tunnel disabled")
        case CloseCode.REPLACED:
            return KeyCopiedError(f"{said}; a copy of this key was used elsewhere")
        case CloseCode.GOING_AWAY:
            return RelayNotReadyError(f"{said}; it is stopping")
        case _:
            return LinkClosedError(said)


async def round_trip(scene: Scene) -> str:
    """Does a ping come back over a link?"""
    if scene.daemon is not None:
        link = _daemons(scene, scene.daemon)
        trip, heard = link.get("round_trip_ms"), link.get("heard_ago")
        if not trip:
            raise NoLinkError("no ping has come back on the daemon's link yet")
        return f"{trip} ms on the daemon's link, last heard {heard} s ago"
    driver = scene.driver
    if driver is None:
        raise SkippedError("no link of our own")
    while not driver.round_trip:
        if driver.lost:
            raise judge_close(*(scene.facts["owner"].closed or (1006, "")))
        await anyio.sleep(0.002)
    return f"{driver.round_trip * 1000:.2f} ms"
