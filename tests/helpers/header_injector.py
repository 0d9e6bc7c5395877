"""A reverse proxy on loopback that adds a bearer token, for callers that cannot send one.

    python -m tests.helpers.header_injector http://127.0.0.1:8443/t/a/b/mcp < token-file

The conformance suite has no option for request headers. This stands in front of the relay, adds
`Authorization` and otherwise passes bytes as they come, both ways, without buffering. When either
side closes, so does the other. Each connection carries one exchange.
"""

import argparse
import re
import ssl
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Literal
from urllib.parse import urlsplit

import anyio
from anyio.abc import ByteReceiveStream, ByteSendStream, ByteStream, SocketAttribute
from anyio.streams.buffered import BufferedByteReceiveStream
from pydantic import SecretStr

HostRule = Literal["own", "always", "never"]
HOST = "127.0.0.1"
MAX_HEAD_BYTES = 64 * 1024
HEAD_SECONDS = 30.0
CONNECT_SECONDS = 10.0

_GONE = (anyio.EndOfStream, anyio.BrokenResourceError, anyio.ClosedResourceError)
_NO_UPSTREAM = b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


@dataclass(frozen=True, slots=True)
class Target:
    """Where requests go and what is added to them.

    `host_rule` says which `Host` the target sees. `own`: the injector's names, in `Host` and
    `Origin`, become the target's, and any other name passes, so that the target itself meets (and
    must refuse) a foreign one. `always`: the target's `Host` in every request, `Origin` untouched.
    `never`: both untouched.
    """

    url: str
    token: SecretStr | None = None
    host_rule: HostRule = "own"
    tls: ssl.SSLContext | None = field(default=None, repr=False)

    @property
    def authority(self) -> str:
        """Host and port as the URL names them."""
        return urlsplit(self.url).netloc

    @property
    def origin(self) -> str:
        """Scheme, host and port."""
        return f"{urlsplit(self.url).scheme}://{self.authority}"


def rewrite(head: bytes, target: Target, own: frozenset[str]) -> bytes:
    """Return the request head as the target gets it.

    `head` ends without the blank line; `own` holds the injector's authorities. Names and values of
    the other headers, their order and their case stay as they are.
    """
    request_line, *lines = head.split(b"\r\n")
    kept = [request_line]
    for line in lines:
        name, _, value = line.partition(b":")
        match name.lower():
            case b"connection" | b"keep-alive":
                continue
            case b"authorization" if target.token is not None:
                continue
            case b"host":
                value = b" " + _host(value.strip().decode("latin-1"), target, own).encode("latin-1")
            case b"origin":
                value = b" " + _origin(value.strip().decode("latin-1"), target, own).encode(
                    "latin-1"
                )
            case _:
                kept.append(line)
                continue
        kept.append(name + b":" + value)
    # One exchange per connection: after the head nothing has to be understood any more.
    kept.append(b"Connection: close")
    if target.token is not None:
        kept.append(f"Authorization: Bearer {target.token.get_secret_value()}".encode("ascii"))
    return b"\r\n".join(kept)


def _host(given: str, target: Target, own: frozenset[str]) -> str:
    if target.host_rule == "always":
        return target.authority
    if target.host_rule == "own" and given.lower() in own:
        return target.authority
    return given


def _origin(given: str, target: Target, own: frozenset[str]) -> str:
    mine = re.fullmatch(r"http://(.+)", given)
    if target.host_rule == "own" and mine is not None and mine[1].lower() in own:
        return target.origin
    return given


@asynccontextmanager
async def header_injector(target: Target, port: int = 0) -> AsyncIterator[str]:
    """Serve on loopback and yield the URL that stands for the target's; port 0 takes a free one."""
    listener = await anyio.create_tcp_listener(local_host=HOST, local_port=port)
    bound = listener.extra(SocketAttribute.local_port)  # noqa: S610  # anyio's, not Django's
    own = frozenset(f"{name}:{bound}" for name in (HOST, "localhost"))

    async def serve(client: ByteStream) -> None:
        await _exchange(client, target, own)

    async with listener, anyio.create_task_group() as tasks:
        tasks.start_soon(listener.serve, serve, tasks)
        yield f"http://{HOST}:{bound}{urlsplit(target.url).path}"
        tasks.cancel_scope.cancel()


async def _exchange(client: ByteStream, target: Target, own: frozenset[str]) -> None:
    incoming = BufferedByteReceiveStream(client)
    async with client:
        try:
            with anyio.fail_after(HEAD_SECONDS):
                head = await incoming.receive_until(b"\r\n\r\n", MAX_HEAD_BYTES)
        except (*_GONE, anyio.IncompleteRead, anyio.DelimiterNotFound, TimeoutError):
            return
        try:
            with anyio.fail_after(CONNECT_SECONDS):
                upstream = await _connect(target)
        except (OSError, TimeoutError):
            await _send(client, _NO_UPSTREAM)
            return
        async with upstream:
            await _send(upstream, rewrite(head, target, own) + b"\r\n\r\n")
            async with anyio.create_task_group() as tasks:
                # Whichever side ends first ends the exchange: a disconnect travels both ways.
                stop = tasks.cancel_scope.cancel
                tasks.start_soon(_pass, incoming, upstream, stop)
                tasks.start_soon(_pass, upstream, client, stop)


async def _connect(target: Target) -> ByteStream:
    parts = urlsplit(target.url)
    host = parts.hostname or HOST
    if parts.scheme == "https":
        return await anyio.connect_tcp(
            host,
            parts.port or 443,
            ssl_context=target.tls,
            tls=True,
            tls_standard_compatible=False,
        )
    return await anyio.connect_tcp(host, parts.port or 80)


async def _pass(source: ByteReceiveStream, sink: ByteSendStream, stop: Callable[[], None]) -> None:
    try:
        while True:
            await sink.send(await source.receive())
    except _GONE:
        stop()


async def _send(sink: ByteSendStream, data: bytes) -> None:
    try:
        await sink.send(data)
    except _GONE:
        return


async def _serve_until_cancelled(target: Target, port: int) -> None:
    async with header_injector(target, port) as url:
        print(url, flush=True)  # noqa: T201
        await anyio.sleep_forever()


def main() -> None:
    """Serve until interrupted; the token is the first line of standard input."""
    parser = argparse.ArgumentParser(description="Add a bearer token to every request.")
    parser.add_argument("url")
    parser.add_argument("--port", type=int, default=0)
    options = parser.parse_args()
    token = sys.stdin.readline().strip()
    target = Target(options.url, SecretStr(token) if token else None)
    anyio.run(_serve_until_cancelled, target, options.port)


if __name__ == "__main__":
    main()
