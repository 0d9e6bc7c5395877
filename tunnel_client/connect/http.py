"""HTTP towards the MCP server and its login: one place for TLS, proxies and what fails.

Redirects are never followed: a token must not go where a server sends it.
"""

import socket
import ssl
import urllib.request
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import anyio
import httpx2

from shared.version import VERSION
from tunnel_client.connect.address import WebUrl
from tunnel_client.errors import (
    CertificateError,
    ClientError,
    ConnectError,
    DialSettingsError,
    ProxyError,
)
from tunnel_client.errors_connect import ServerAnswerError

CONNECT_SECONDS = 10.0
WRITE_SECONDS = 30.0
READ_SECONDS = 360.0
"""Longest silence in an answer; a relay waits 300 s for a private server."""
LINGER_SECONDS = 1.0
"""For an answer to end by itself, once nobody waits for more of it."""
_IDLE_CONNECTIONS = 16
_CHECK = "check the network, HTTPS_PROXY and --ca-file"

NEVER_SENT = (httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.PoolTimeout, httpx2.ProxyError)
"""Failures before a request left this machine."""


def http_for(url: WebUrl, trust: ssl.SSLContext) -> httpx2.AsyncClient:
    """Make a client for one origin; raises DialSettingsError for a proxy it cannot use."""
    try:
        transport = httpx2.AsyncHTTPTransport(
            verify=trust,
            trust_env=False,
            proxy=_proxy_for(url),
            limits=httpx2.Limits(max_connections=None, max_keepalive_connections=_IDLE_CONNECTIONS),
            socket_options=_keepalive(),
        )
    except (ValueError, ImportError, httpx2.InvalidURL):
        # Their message repeats the address, and the address may hold a password.
        raise DialSettingsError("HTTPS_PROXY is not http://[user:password@]host:port") from None
    return httpx2.AsyncClient(
        transport=transport,
        trust_env=False,
        follow_redirects=False,
        timeout=httpx2.Timeout(
            CONNECT_SECONDS, read=READ_SECONDS, write=WRITE_SECONDS, pool=CONNECT_SECONDS
        ),
        # Nothing is unpacked here: a small answer must not become a large one.
        headers={"User-Agent": f"tunnel-client/{VERSION}", "Accept-Encoding": "identity"},
    )


def _proxy_for(url: WebUrl) -> str | None:
    if url.is_local or urllib.request.proxy_bypass(f"{url.host}:{url.port}"):
        return None
    address = urllib.request.getproxies().get("https")
    return f"http://{address}" if address and "://" not in address else address


def _keepalive() -> list[tuple[int, int, int]]:
    """Ask the system to notice a peer that is gone, as after a laptop slept: within a minute."""
    options = [
        (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
        (socket.IPPROTO_TCP, socket.TCP_NODELAY, 1),
    ]
    for name, value in (("TCP_KEEPIDLE", 30), ("TCP_KEEPINTVL", 10), ("TCP_KEEPCNT", 3)):
        if hasattr(socket, name):
            options.append((socket.IPPROTO_TCP, getattr(socket, name), value))
    return options


@asynccontextmanager
async def translated(url: WebUrl) -> AsyncIterator[None]:
    """Turn failures of the network into refusals that name the place and what to look at."""
    try:
        yield
    except (httpx2.HTTPError, httpx2.StreamError, httpx2.InvalidURL) as error:
        raise refusal(error, url) from None


def refusal(error: Exception, url: WebUrl) -> ClientError:
    """Return the refusal for a failure of a request to `url`; it never repeats a proxy's login."""
    if isinstance(error, httpx2.ProxyError):
        return ProxyError("the proxy of HTTPS_PROXY did not connect us", _CHECK)
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ssl.SSLCertVerificationError):
            text = f"the certificate of {url.origin} is not trusted: {cause.verify_message}"
            return CertificateError(text, "connect with --ca-file PEM if the authority is your own")
        cause = cause.__cause__ or cause.__context__
    if isinstance(error, NEVER_SENT):
        return ConnectError(f"cannot connect to {url.origin}", _CHECK)
    if isinstance(error, httpx2.TimeoutException):
        return ServerAnswerError(f"{url.origin} was silent for too long")
    return ServerAnswerError(f"the connection to {url.origin} broke")


async def read_body(response: httpx2.Response, limit: int) -> bytes:
    """Return a whole body of at most `limit` bytes; raises ServerAnswerError."""
    check_encoding(response)
    body = bytearray()
    async for chunk in response.aiter_raw():
        body += chunk
        if len(body) > limit:
            raise ServerAnswerError(f"an answer of {response.url.host} is too large")
    return bytes(body)


async def drain(response: httpx2.Response) -> None:
    """Read what is left of an answer that nobody waits for, for a short while.

    A server that is left earlier has to take the answer for lost, and its connection is lost too.
    """
    with anyio.move_on_after(LINGER_SECONDS), suppress(httpx2.HTTPError, httpx2.StreamError):
        async for _ in response.aiter_raw():
            pass


def check_encoding(response: httpx2.Response) -> None:
    """Refuse a packed body, which we never asked for; raises ServerAnswerError."""
    if response.headers.get("content-encoding", "identity").lower() != "identity":
        raise ServerAnswerError(f"{response.url.host} sent a packed answer that nobody asked for")
