"""The way to the relay, layer by layer: name, TCP, proxy, TLS, HTTP, WebSocket, clock."""

import asyncio
import json
import socket
import ssl
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import Any, cast

from shared.checkup import SkippedError
from shared.errors import NotSpokenError, PeerError
from shared.link.inbox import Inbox, LinkLostError
from shared.link.websocket import ClientWebSocket, UpgradeRefusedError
from tunnel_client.dial import DialTarget, choose_proxy, connect_through, dial
from tunnel_client.doctor.certificates import issuer_of, judge, read_shown
from tunnel_client.doctor.errors import ClockError, RelayNotReadyError
from tunnel_client.doctor.scene import Scene
from tunnel_client.errors import (
    CertificateError,
    ConnectError,
    EnrolRefusedError,
    NameLookupError,
    NotARelayError,
)
from tunnel_client.http_once import OneExchange

MAX_SKEW = 60.0
"""Seconds that two clocks may differ: so much is borne where wall times are compared."""
_REASONS = {
    "stopping": "it is stopping",
    "store": "its database cannot be written",
    "audit": "its log cannot be written",
}


def _first_hop(target: DialTarget) -> tuple[str, int, str]:
    """Return host, port and what they are: the proxy if there is one, else the relay."""
    proxy = choose_proxy(target)
    if proxy is None:
        return target.relay.host, target.relay.port, "the relay"
    return proxy.host, proxy.port, "the proxy"


async def dns(scene: Scene) -> str:
    """Has the first hop an address?"""
    host, port, what = _first_hop(scene.way())
    try:
        found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (socket.gaierror, UnicodeError) as error:
        raise NameLookupError(
            f"no address for {what}, {host}: {getattr(error, 'strerror', None) or error}",
            f"getent hosts {host}; compare it with relay.url and relay.proxy",
        ) from None
    addresses = list(dict.fromkeys(str(each[4][0]) for each in found))
    return f"{what} {host} is {', '.join(addresses[:4])}"


async def tcp(scene: Scene) -> str:
    """Does the first hop accept a connection?"""
    host, port, what = _first_hop(scene.way())
    try:
        transport, _ = await asyncio.get_running_loop().create_connection(
            asyncio.Protocol, host, port
        )
    except OSError as error:
        raise ConnectError(
            f"{what} does not accept TCP at {host}:{port}: {error.strerror or error}",
            f"see that {what} runs, and that the firewall lets {host}:{port} out",
        ) from None
    transport.abort()
    return f"{what} at {host}:{port}"


async def proxy(scene: Scene) -> str:
    """Does the proxy connect us to the relay?"""
    target = scene.way()
    chosen = choose_proxy(target)
    if chosen is None:
        raise SkippedError("no proxy: direct")
    try:
        plain = await connect_through(chosen, target)
    except OSError as error:
        raise ConnectError(f"the proxy hung up: {error.strerror or error}") from None
    plain.abort()
    login = "with a login" if chosen.username else "without a login"
    return f"CONNECT {target.relay.host}:{target.relay.port} by {chosen.host}:{chosen.port} {login}"


async def tls(scene: Scene) -> str:
    """Is TLS agreed, and by whose certificate?"""
    target = scene.way()
    if not target.relay.secure:
        raise SkippedError("ws:// on this machine: no TLS")
    try:
        transport, _ = await dial(target, asyncio.Protocol)
    except CertificateError as error:
        der = await _unbelieved(target)
        if der is None:
            raise
        ca_file = None if target.ca_file is None else str(target.ca_file)
        shown = read_shown(der)
        raise judge(shown, error.cause, target.relay.host, ca_file, scene.now()) from None
    agreed: ssl.SSLObject = transport.get_extra_info("ssl_object")
    transport.abort()
    issuer, inspector = issuer_of(agreed)
    inspected = "; A MIDDLEBOX OPENS TLS ON THE WAY" if inspector else ""
    return f"{agreed.version()}, issued by {issuer}{inspected}"


async def _unbelieved(target: DialTarget) -> bytes | None:
    """Fetch a certificate without believing it, to say who made it; nothing is sent after that."""
    blind = ssl.create_default_context()
    blind.check_hostname = False
    blind.verify_mode = ssl.CERT_NONE
    loop = asyncio.get_running_loop()
    chosen = choose_proxy(target)
    host = target.relay.host
    try:
        if chosen is None:
            made: asyncio.BaseTransport | None
            made, _ = await loop.create_connection(
                asyncio.Protocol, host, target.relay.port, ssl=blind, server_hostname=host
            )
        else:
            plain = await connect_through(chosen, target)
            made = await loop.start_tls(plain, asyncio.Protocol(), blind, server_hostname=host)
    except OSError:
        return None
    if made is None:
        return None
    der = cast(bytes | None, made.get_extra_info("ssl_object").getpeercert(True))
    made.abort()
    return der


class _Asked(OneExchange):
    """One request that keeps the time the relay tells."""

    date: float | None = None

    def on_header(self, name: bytes, value: bytes) -> None:
        super().on_header(name, value)
        if name.lower() == b"date":
            try:
                self.date = parsedate_to_datetime(value.decode("latin-1")).timestamp()
            except (ValueError, TypeError, OverflowError):
                self.date = None


async def ready(scene: Scene) -> str:
    """Is it a relay, and does it say that it is ready?"""
    target, scene.relay_time = scene.way(), None
    request = f"GET /readyz HTTP/1.1\r\nHost: {target.relay.authority}\r\nConnection: close\r\n\r\n"
    transport, asked = await dial(target, lambda: _Asked(request.encode("ascii")))
    try:
        status, body = await asked.answer()
    except EnrolRefusedError as error:
        raise NotARelayError(f"{target.relay.authority}: {error.cause}") from None
    except ConnectError:
        raise NotARelayError(f"{target.relay.authority} hung up on an HTTP request") from None
    finally:
        transport.abort()
    if asked.date is not None:
        scene.relay_time = (asked.date, scene.now())
    return judge_ready(status, body, target.relay.authority)


def judge_ready(status: int, body: bytes, place: str) -> str:
    """Judge the answer to /readyz; raises NotARelayError and RelayNotReadyError. Pure."""
    try:
        said: Any = json.loads(body)
    except (ValueError, RecursionError):
        said = None
    if not isinstance(said, dict) or not isinstance(said.get("ready"), bool):
        if status == 421:
            raise NotARelayError(f"the relay there does not know itself as {place}")
        if status in (502, 503, 504):
            raise RelayNotReadyError(f"a balancer at {place} answers {status}: no relay behind it")
        raise NotARelayError(f"{place} answers {status} to /readyz, not as a relay does")
    if not said["ready"]:
        reason = str(said.get("reason"))
        raise RelayNotReadyError(f"the relay takes no calls: {_REASONS.get(reason, reason)}")
    return f"ready, {said.get('links', '?')} links"


async def upgrade(scene: Scene) -> str:
    """Is a WebSocket accepted where clients connect?"""
    target = scene.way()
    tunnel = scene.settings.relay.tunnel
    relay = target.relay
    url = f"{relay.scheme}://{relay.authority}/tunnel"
    transport, socket = await dial(target, lambda: ClientWebSocket(url, f"MCP-Tunnel {tunnel}"))
    try:
        await opened(socket, relay.authority)
    finally:
        transport.abort()
    return "101, mcp-tunnel.v1"


async def opened(socket: ClientWebSocket, place: str) -> Inbox:
    """Wait until a place has answered the upgrade; raises NotARelayError, RelayNotReadyError."""
    try:
        return await socket.opened()
    except UpgradeRefusedError as error:
        if error.status in (HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE):
            raise RelayNotReadyError(
                f"the relay takes no more links now (HTTP {error.status})"
            ) from None
        raise NotARelayError(f"{place} answered {error.status} to the WebSocket upgrade") from None
    except NotSpokenError as error:
        raise NotARelayError.at(place, error) from None
    except LinkLostError:
        raise NotARelayError(
            f"{place} hung up on the WebSocket upgrade: something on the way may not "
            "pass WebSockets"
        ) from None
    except PeerError as error:
        raise NotARelayError(str(error)) from None


async def clock(scene: Scene) -> str:
    """Do the clocks agree?"""
    if scene.relay_time is None:
        raise SkippedError("the relay told no time")
    return judge_clock(*scene.relay_time)


def judge_clock(there: float, here: float) -> str:
    """Judge two clocks; raises ClockError. Pure."""
    ahead = here - there
    if abs(ahead) > MAX_SKEW:
        way = "ahead of" if ahead > 0 else "behind"
        raise ClockError(f"this clock is {abs(ahead):.0f} s {way} the relay's")
    return f"{abs(ahead):.0f} s apart"
