"""Opens the connection to the relay: TCP, an HTTP proxy if there is one, TLS.

The certificate is checked against the system's authorities and, if one is configured, a private
CA file; there is no switch to turn the check off. Nothing here follows a redirect.
"""

import asyncio
import errno
import os
import socket
import ssl
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import anyio
from pydantic import SecretStr

from shared.link.reading import Reader
from tunnel_client.errors import (
    CertificateError,
    ConnectError,
    DialError,
    DialSettingsError,
    NameLookupError,
    ProxyError,
    ProxyLoginError,
    TlsError,
)
from tunnel_client.proxy_login import ProxyLogin
from tunnel_client.racing import EXTRA_ATTEMPTS, first_of
from tunnel_client.relay_url import RelayUrl, is_loopback

if TYPE_CHECKING:
    from websockets.proxy import Proxy
    from websockets.uri import WebSocketURI

_CLOSE_SECONDS = 1.0
"""How long a TLS goodbye may take before the connection is cut."""
_HANDSHAKE_SECONDS = 10.0
_ADDRESS_SECONDS = 2.5
"""For an address of a host that has others."""
_EARLY_BYTES = 64 * 1024
_NO_ROOM = frozenset((errno.EMFILE, errno.ENFILE, errno.ENOMEM))
"""What the machine is short of, which says nothing about a file."""
_PROXY_SAYS = {
    403: ": it does not allow that",
    502: ": it could not reach it",
    503: ": it could not reach it",
    504: ": it could not reach it in time",
}

_P = TypeVar("_P", bound=asyncio.Protocol | Reader)


@dataclass(frozen=True, slots=True)
class DialTarget:
    """Where to connect and what to trust.

    `proxy` is `http://host:port` or `https://host:port`; None takes HTTPS_PROXY and NO_PROXY from
    the environment, "none" never uses one. `proxy_auth` is `user:password`, or reads it each time.
    """

    relay: RelayUrl
    ca_file: Path | None = None
    proxy: str | None = None
    proxy_auth: SecretStr | ProxyLogin | None = None


def tls_context(ca_file: Path | None) -> ssl.SSLContext:
    """Make the TLS settings towards the relay; raises DialSettingsError for a bad CA file.

    Raises DialError where this machine has no room to read it.
    """
    try:
        context = ssl.create_default_context()
        if ca_file is not None:
            context.load_verify_locations(cafile=ca_file)
    except (OSError, ssl.SSLError) as error:
        cause = f"cannot read CA file {ca_file}: {_text(error)}"
        # The numbers of an SSLError are OpenSSL's own.
        if not isinstance(error, ssl.SSLError) and error.errno in _NO_ROOM:
            look = "end what uses up files or memory: ulimit -n; free -m"
            raise DialError(cause, look) from error
        look = f"openssl x509 -noout -subject -in {ca_file}"
        raise DialSettingsError(cause, look) from error
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    return context


def choose_proxy(target: DialTarget) -> "Proxy | None":
    """Return the proxy to go through, or None; raises DialSettingsError, never naming a password.

    Loopback is always reached directly. Reads the file that the login of the proxy is in.
    """
    # Costs 50 ms and more, which commands that do not dial should not pay.
    from websockets.exceptions import InvalidProxy
    from websockets.proxy import parse_proxy

    if target.proxy == "none" or is_loopback(target.relay.host):
        return None
    address = target.proxy or proxy_of_environment(target.relay)
    if not address:
        return None
    if "://" not in address:
        address = f"http://{address}"
    try:
        proxy = parse_proxy(address)
    except (InvalidProxy, ValueError):
        # Their message repeats the address, and the address may hold a password.
        raise DialSettingsError(
            "the proxy address is not http://[user:password@]host:port"
        ) from None
    if proxy.scheme not in ("http", "https"):
        raise DialSettingsError(f"a proxy of kind {proxy.scheme} is not supported, only http(s)")
    login = target.proxy_auth
    if login is not None:
        login = login.current() if isinstance(login, ProxyLogin) else login
        proxy.username, _, proxy.password = login.get_secret_value().partition(":")
    return proxy


def proxy_of_environment(relay: RelayUrl) -> str | None:
    """Return what HTTPS_PROXY and NO_PROXY say of a relay; it may hold a password."""
    host = f"[{relay.host}]" if ":" in relay.host else relay.host
    if urllib.request.proxy_bypass(f"{host}:{relay.port}"):
        return None
    return urllib.request.getproxies().get("https")


async def dial(
    target: DialTarget, protocol_factory: Callable[[], _P]
) -> tuple[asyncio.Transport, _P]:
    """Connect to the relay and hand the connection to a protocol of the caller.

    Returns once TLS is agreed and `connection_made` was called. The caller bounds the whole call
    (10 s); when it is cancelled nothing stays open. Raises a DialError.
    """
    try:
        return await _dial(target, protocol_factory)
    except DialError as error:
        named(error, target.relay)
        raise


def named(error: DialError, relay: RelayUrl) -> DialError:
    """Return it with the relay's own name in what its code says to do next."""
    if error.next == error.next_command:
        host = f"[{relay.host}]" if ":" in relay.host else relay.host
        web = f"{'https' if relay.secure else 'http'}://{relay.authority}/"
        for word, known in (
            ("https://RELAY/", web),
            ("RELAY:443", f"{host}:{relay.port}"),
            ("RELAY", relay.host),
        ):
            error.next = error.next.replace(word, known)
    return error


async def _dial(
    target: DialTarget, protocol_factory: Callable[[], _P]
) -> tuple[asyncio.Transport, _P]:
    context = await asyncio.to_thread(tls_context, target.ca_file) if target.relay.secure else None
    proxy = await asyncio.to_thread(choose_proxy, target)
    place = target.relay.authority if proxy is None else f"proxy {proxy.host}:{proxy.port}"
    try:
        if proxy is None:
            made = await _direct(target.relay, context, protocol_factory)
        else:
            made = await _through(proxy, target, context, protocol_factory)
    except DialError:
        raise
    except socket.gaierror as error:
        raise NameLookupError(f"no address for {place}: {_text(error)}") from error
    except ssl.SSLCertVerificationError as error:
        raise CertificateError(
            f"the certificate of {target.relay.authority} is not trusted: {error.verify_message}"
        ) from error
    except (ssl.SSLError, ssl.CertificateError) as error:
        raise TlsError(f"TLS with {target.relay.authority} failed: {_text(error)}") from error
    except (OSError, TimeoutError) as error:
        raise ConnectError(f"cannot connect to {place}: {_text(error)}") from error
    _no_delay(made[0])
    return made


async def _direct(
    relay: RelayUrl, context: ssl.SSLContext | None, protocol_factory: Callable[[], _P]
) -> tuple[asyncio.Transport, _P]:
    connect = asyncio.get_running_loop().create_connection
    sock = await _tcp(relay.host, relay.port)
    if context is None:
        return await connect(protocol_factory, sock=sock)
    return await connect(
        protocol_factory,
        sock=sock,
        ssl=context,
        server_hostname=relay.host,
        ssl_handshake_timeout=_HANDSHAKE_SECONDS,
        ssl_shutdown_timeout=_CLOSE_SECONDS,
    )


async def _tcp(host: str, port: int) -> socket.socket:
    """Return a connected socket; raises OSError.

    Each attempt begins with another of the host's addresses, and leaves one that says nothing for
    the next: a first one that swallows everything must not hide those behind it.
    """
    begun = count()

    async def attempt() -> socket.socket:
        number = next(begun)
        found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
        first = number % len(found) if found else 0
        addresses = found[first:] + found[:first]
        refused: OSError | None = None
        for place in addresses:
            patience = None if place is addresses[-1] else _ADDRESS_SECONDS
            try:
                with anyio.move_on_after(patience) as waiting:
                    return await _connected(place)
            except OSError as error:
                refused = error
            if waiting.cancelled_caught:
                refused = OSError(errno.ETIMEDOUT, os.strerror(errno.ETIMEDOUT))
        raise refused or OSError(errno.EADDRNOTAVAIL, "no address")

    return await first_of(attempt, lambda sock: sock.close(), EXTRA_ATTEMPTS)


async def _connected(place: tuple[Any, ...]) -> socket.socket:
    family, kind, proto, _, address = place
    sock = socket.socket(family, kind, proto)
    sock.setblocking(False)
    try:
        await asyncio.get_running_loop().sock_connect(sock, address)
    except BaseException:
        sock.close()
        raise
    return sock


async def _through(
    proxy: "Proxy",
    target: DialTarget,
    context: ssl.SSLContext | None,
    protocol_factory: Callable[[], _P],
) -> tuple[asyncio.Transport, _P]:
    if context is None:
        raise DialSettingsError("a proxy is only used with wss://")
    plain = await connect_through(proxy, target)
    early = _Early()
    try:
        # Data may arrive before our own protocol is in place, so a keeper stands in until then.
        secured = await asyncio.get_running_loop().start_tls(
            plain,
            early,
            context,
            server_hostname=target.relay.host,
            ssl_handshake_timeout=_HANDSHAKE_SECONDS,
            ssl_shutdown_timeout=_CLOSE_SECONDS,
        )
    except BaseException:
        plain.abort()
        raise
    if secured is None or early.lost:
        plain.abort()
        raise ConnectError(f"{target.relay.authority} hung up after TLS was agreed")
    protocol = protocol_factory()
    secured.set_protocol(protocol)
    protocol.connection_made(secured)
    if early.data:
        protocol.data_received(bytes(early.data))
    return secured, protocol


async def connect_through(proxy: "Proxy", target: DialTarget) -> asyncio.Transport:
    """Have the proxy connect us to the relay; raises ProxyError, CertificateError and OSError."""
    from websockets.exceptions import InvalidProxyMessage, InvalidProxyStatus

    from tunnel_client.proxy_connection import ProxyConnection, ProxyHungUpError

    tls: dict[str, Any] = {}
    if proxy.scheme == "https":
        tls = {"ssl": tls_context(target.ca_file), "server_hostname": proxy.host}
    relay, name = target.relay, f"proxy {proxy.host}:{proxy.port}"
    look = f"curl -v --proxy {proxy.scheme}://{proxy.host}:{proxy.port} https://{relay.authority}/"
    connect = asyncio.get_running_loop().create_connection
    try:
        transport, connection = await connect(
            lambda: ProxyConnection(_ws_uri(relay), proxy, "tunnel-client"),
            sock=await _tcp(proxy.host, proxy.port),
            **tls,
        )
        try:
            await connection.response
        except BaseException:
            transport.abort()
            raise
        return transport
    except InvalidProxyStatus as error:
        status = error.response.status_code
        said = f"{name} answered {status} to CONNECT"
        if status == 407:
            wants = "it wants a user and password: --proxy-auth, relay.proxy_auth"
            raise ProxyLoginError(f"{said} ({wants})") from None
        why = _PROXY_SAYS.get(status, "")
        raise ProxyError(f"{said} {relay.authority}{why}", look) from None
    except ProxyHungUpError:
        said = f"{name} hung up without an answer to CONNECT {relay.authority}"
        raise ProxyError(f"{said}: it may not reach that, or not allow it", look) from None
    except InvalidProxyMessage:
        raise ProxyError(f"{name} does not speak HTTP", look) from None
    except ssl.SSLCertVerificationError as error:
        raise CertificateError(
            f"the certificate of proxy {proxy.host} is not trusted: {error.verify_message}"
        ) from error


def _ws_uri(relay: RelayUrl) -> "WebSocketURI":
    from websockets.uri import WebSocketURI

    return WebSocketURI(relay.secure, relay.host, relay.port, "", "")


def _no_delay(transport: asyncio.Transport) -> None:
    sock = transport.get_extra_info("socket")
    if sock is not None:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


def _text(error: BaseException) -> str:
    if isinstance(error, ssl.SSLError):
        return error.reason or "refused"
    if type(error) is ConnectionRefusedError:
        return os.strerror(error.errno or errno.ECONNREFUSED)  # asyncio has words of its own
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error) or type(error).__name__


class _Early(asyncio.Protocol):
    """Keeps what arrives before the real protocol takes over; bounded by one TLS read."""

    def __init__(self) -> None:
        self.data = bytearray()
        self.lost = False

    def data_received(self, data: bytes) -> None:
        self.data += data
        if len(self.data) > _EARLY_BYTES:
            self.lost = True
            self.data.clear()

    def eof_received(self) -> None:
        self.lost = True

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost = True
