"""Takes in clients' links: judges the upgrade, shakes hands, hands over to the registry."""

from collections.abc import Awaitable, Callable
from enum import StrEnum
from typing import Any, Protocol

import anyio
import anyio.abc
import structlog
from websockets.http11 import Request

from shared.audit.events import note
from shared.errors import CloseCode, PeerError
from shared.keys import PrivateKey
from shared.link import handshake
from shared.link.inbox import Inbox, LinkLostError
from shared.link.websocket import ServerWebSocket
from shared.wire.handshake import Hello
from shared.wire.limits import MAX_MESSAGE_BYTES, LinkLimits
from tunnel_relay.clients.grants import GroupsOf, LinkGrants
from tunnel_relay.clients.handshakes import Handshakes
from tunnel_relay.clients.link import Link
from tunnel_relay.clients.registry import Registry
from tunnel_relay.store.base import StoreError

log = structlog.get_logger("tunnel_relay.listen")

PATH = "/tunnel"
SCHEME = "mcp-tunnel "
"""The upgrade names its tunnel in Authorization: a browser cannot, and a scanner does not."""
TOLD_EACH = 60.0
"""Seconds between two lines that say that there are too many handshakes."""


class Admission(Protocol):
    """Whether a client may open a link."""

    @property
    def admitted(self) -> bool: ...

    @property
    def verdict(self) -> StrEnum: ...

    @property
    def close_code(self) -> CloseCode: ...


FindKey = Callable[[str, str], Awaitable[bytes | None]]
Admit = Callable[[str, str, int], Awaitable[Admission]]


class LinkListener:
    """Makes the WebSocket side of the relay's listener; one instance a relay.

    `find_key` maps (tunnel, instance) to the key stored at enrolment; `admit` judges (tunnel,
    instance, counter) once the signature held; `groups_of` says what grants tell of a user.
    `most` is how many links there may be, and how many of one client.
    Handshakes run in the task group of `serve`, at most `max_handshakes` at a time, each within
    `deadline` seconds. Who would be one too many may have the place of one that proved nothing yet
    (`Handshakes` says whose), and is else told to come later.
    """

    def __init__(
        self,
        *,
        key: PrivateKey,
        origins: frozenset[str],
        registry: Registry,
        find_key: FindKey,
        admit: Admit,
        groups_of: GroupsOf,
        limits: LinkLimits,
        deadline: float,
        most: tuple[int, int],
        max_handshakes: int = 1024,
    ) -> None:
        self._key = key
        self._origins = origins
        self._registry = registry
        self._find_key = find_key
        self._admit = admit
        self._groups_of = groups_of
        self._limits = limits
        self._deadline = deadline
        self._max_links, self._links_per_client = most
        self._handshakes = Handshakes(max_handshakes)
        self._told_at = -TOLD_EACH
        self._tasks: anyio.abc.TaskGroup | None = None

    def start(self, tasks: anyio.abc.TaskGroup) -> None:
        """Accept links from now on; their handshakes run in `tasks`."""
        self._tasks = tasks

    def protocol(self, *, config: Any, server_state: Any, app_state: Any) -> "LinkSocket":
        """Make the protocol that takes over an upgraded connection (uvicorn's `ws` class)."""
        return LinkSocket(self._judge_upgrade, self._opened, server_state)

    def _judge_upgrade(self, request: Request) -> tuple[int, str] | None:
        headers = request.headers
        if request.path != PATH:
            return 404, "not found"
        if headers.get_all("Origin"):
            return 403, "links are not for browsers"
        authorization = headers.get_all("Authorization")
        if len(authorization) != 1 or not authorization[0].lower().startswith(SCHEME):
            return 401, "name the tunnel"
        if self._tasks is None or self._full:
            return 503, "no more links"
        if len(self._handshakes) >= self._handshakes.most and not self._made_room():
            return 429, "too many handshakes"
        return None

    def _opened(self, socket: ServerWebSocket, inbox: Inbox) -> None:
        if self._tasks is None:
            socket.abort()
            return
        self._tasks.start_soon(self._greet, socket, inbox)
        self._handshakes.begin(socket, inbox)

    @property
    def _full(self) -> bool:
        # Which of them have their connection is looked at only where that decides.
        left = self._max_links - len(self._handshakes)
        return len(self._registry) >= left and self._registry.connected >= left

    def _made_room(self) -> bool:
        """Return whether one more may begin, after dropping another for it."""
        dropped = self._handshakes.make_room()
        self._registry.crowded["refused" if dropped is None else "dropped"] += 1
        if (now := anyio.current_time()) - self._told_at >= TOLD_EACH:
            self._told_at = now
            log.warning("too many handshakes", most=self._handshakes.most)
        if dropped is not None:
            dropped.abort()
        return dropped is not None

    async def _greet(self, socket: ServerWebSocket, inbox: Inbox) -> None:
        try:
            with anyio.fail_after(self._deadline):
                await self._shake_hands(socket, inbox)
        except LinkLostError:
            log.info("client left during the handshake", peer=socket.peer)
        except PeerError as error:
            log.warning("handshake refused", peer=socket.peer, reason=str(error))
            note("link.failed", source=socket.peer, reason=str(error))
            socket.close(error.close_code, "not authenticated")
        except TimeoutError:
            log.warning("handshake too slow", peer=socket.peer)
            note("link.failed", source=socket.peer, reason="the handshake took too long")
            socket.close(CloseCode.POLICY, "handshake deadline")
        except StoreError as error:
            log.error("handshake failed", peer=socket.peer, reason=str(error))
            note("link.failed", source=socket.peer, reason="the store is not available")
            socket.close(CloseCode.INTERNAL, "try again later")
        except Exception:
            # One poisonous handshake must not end the relay, whose task group this runs in.
            log.exception("handshake failed", peer=socket.peer)
            note("link.failed", source=socket.peer, reason="a fault of the relay")
            socket.close(CloseCode.INTERNAL, "try again later")
        finally:
            self._handshakes.end(socket)

    async def _shake_hands(self, socket: ServerWebSocket, inbox: Inbox) -> None:
        claim = await handshake.challenge(socket, inbox, self._key, self._origins, self._find_key)
        hello = claim.hello
        if self._registry.draining and self._named(hello) is None:
            socket.close(CloseCode.GOING_AWAY, "the relay stops")
            return
        if hello.slot >= self._links_per_client:
            log.warning("link_refused", reason="too many of one client", tunnel=hello.tunnel)
            socket.close(CloseCode.TOO_MANY, "this relay takes fewer links of a client")
            return
        admission = await self._admit(hello.tunnel, hello.instance, hello.counter)
        if not admission.admitted:
            why = f"not admitted: {admission.verdict.value}"
            note("link.failed", source=socket.peer, tunnel=hello.tunnel, reason=why)
            socket.close(admission.close_code, "this client may not connect")
            return
        if self._resumed(socket, inbox, claim):
            return
        if len(self._registry) >= self._max_links:
            socket.close(CloseCode.INTERNAL, "no more links")
            return
        self._ready(socket, claim)
        name = hello.tunnel, hello.instance, hello.counter, hello.process, hello.slot
        link = Link(self._registry, *name)
        link.peer = socket.peer
        link.program = hello.program
        link.grants = LinkGrants(link, self._key, self._groups_of)
        link.attach(socket, self._limits, claim.link)
        self._registry.add(link)
        inbox.hand_over(link.driver)

    def _ready(
        self, socket: ServerWebSocket, claim: handshake.Claim, taken: int | None = None
    ) -> None:
        socket.take_up_to(MAX_MESSAGE_BYTES)
        handshake.ready(socket, claim, self._limits, self._key, taken)

    def _named(self, hello: Hello) -> Link | None:
        """Return the link that a client's process wants to go on with, if that is still there."""
        link = self._registry.resumable(hello.tunnel, hello.instance, hello.resume)
        return link if link is not None and link.process == hello.process else None

    def _resumed(self, socket: ServerWebSocket, inbox: Inbox, claim: handshake.Claim) -> bool:
        """Go on with the link that the client names, if it is still there."""
        hello = claim.hello
        link = self._named(hello)
        if link is None:
            return False
        self._ready(socket, claim, link.driver.taken)
        link.resume(socket, hello.taken, socket.peer)
        inbox.hand_over(link.driver)
        return True


class LinkSocket(ServerWebSocket):
    """A link's socket as uvicorn sees it among its connections."""

    def __init__(self, admit: Any, on_open: Any, server_state: Any) -> None:
        super().__init__(admit, on_open, handshake.MAX_MESSAGE)
        self._connections: set[Any] = server_state.connections

    def connection_made(self, transport: Any) -> None:
        """Join the server's connections, so that it waits for us when it stops."""
        super().connection_made(transport)
        self._connections.add(self)

    def connection_lost(self, error: Exception | None) -> None:
        """Leave the server's connections."""
        self._connections.discard(self)
        super().connection_lost(error)

    def shutdown(self) -> None:
        """Close because the relay stops (uvicorn calls this)."""
        self.close(CloseCode.GOING_AWAY, "the relay stops")
