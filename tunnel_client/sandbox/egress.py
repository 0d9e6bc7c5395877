"""The only way out of a sandbox whose upstream lists hosts: a CONNECT proxy on a Unix socket.

It dials exactly the listed places. A name is resolved once, the address that is dialled is the one
that was judged, and the connected socket is asked again who it speaks to. TLS stays between the
program and the host; what passes is not looked at.
"""

import asyncio
import ipaddress
import shutil
import socket
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import structlog

from tunnel_client.sandbox.hosts import Address, Host, allowed_addresses, parse_host

MAX_CONNECTIONS = 64
MAX_HEAD_BYTES = 8192
HEAD_SECONDS = 10.0
DIAL_SECONDS = 10.0
_CHUNK = 65_536
_MAX_TOLD = 256


class _RefusedError(Exception):
    """Answered with this status; the text is for the log and the program."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status


class Egress:
    """The proxy of one upstream, from `start` to `aclose`; `place` is its socket."""

    def __init__(self, upstream: str, hosts: Sequence[str]) -> None:
        self._hosts = frozenset(parse_host(each) for each in hosts)
        self._log = structlog.get_logger("tunnel_client.sandbox.egress").bind(upstream=upstream)
        self._folder: str | None = None
        self._server: asyncio.Server | None = None
        self._open: set[asyncio.Task[None]] = set()
        self._told: set[str] = set()

    async def start(self) -> str:
        """Listen, and return the path of the socket; raises OSError."""
        self._folder = tempfile.mkdtemp(prefix="mcp-tunnel-egress-")
        place = str(Path(self._folder, "egress.sock"))
        self._server = await asyncio.start_unix_server(self._accept, place, limit=MAX_HEAD_BYTES)
        return place

    async def aclose(self) -> None:
        """Cut every connection and remove the socket."""
        if self._server is not None:
            self._server.close()
        for task in list(self._open):
            task.cancel()
        try:
            await asyncio.gather(*self._open, return_exceptions=True)
        finally:
            if self._folder is not None:
                shutil.rmtree(self._folder, ignore_errors=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task is None or len(self._open) >= MAX_CONNECTIONS:
            self._tell("too many connections at once")
            writer.transport.abort()
            return
        self._open.add(task)
        try:
            await self._serve(reader, writer)
        except (OSError, asyncio.IncompleteReadError):
            pass  # the program or the host left
        finally:
            self._open.discard(task)
            writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            host = await self._asked(reader)
            far_reader, far_writer = await self._dial(host)
        except _RefusedError as error:
            self._tell(str(error))
            text = f"{error}\n".encode("ascii", "replace")
            head = f"HTTP/1.1 {error.status} Refused\r\ncontent-length: {len(text)}\r\n"
            writer.write(head.encode() + b"connection: close\r\n\r\n" + text)
            await writer.drain()
            writer.close()
            await writer.wait_closed()
            return
        try:
            writer.write(b"HTTP/1.1 200 Connected\r\n\r\n")
            await _both_ways(reader, writer, far_reader, far_writer)
        finally:
            far_writer.transport.abort()

    async def _asked(self, reader: asyncio.StreamReader) -> Host:
        """Read the request's head and return the place it names, which is a listed one."""
        try:
            waiting = asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), HEAD_SECONDS)
            head = await waiting
        except (TimeoutError, asyncio.LimitOverrunError):
            raise _RefusedError(400, "no request came") from None
        words = head.partition(b"\r\n")[0].decode("latin-1").split(" ")
        if len(words) != 3 or words[0] != "CONNECT":
            raise _RefusedError(405, "only CONNECT is served: use https")
        try:
            host = parse_host(words[1])
        except ValueError:
            raise _RefusedError(403, "the host asked for is not written as one") from None
        if host not in self._hosts:
            raise _RefusedError(403, f"{host.name}:{host.port} is not listed in sandbox.hosts")
        return host

    async def _dial(self, host: Host) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        loop = asyncio.get_running_loop()
        try:
            asked = loop.getaddrinfo(host.name, host.port, type=socket.SOCK_STREAM)
            found = [str(each[4][0]) for each in await asyncio.wait_for(asked, DIAL_SECONDS)]
        except (OSError, UnicodeError, TimeoutError):
            raise _RefusedError(502, f"{host.name} has no address") from None
        addresses = allowed_addresses(host, found)
        if not addresses:
            raise _RefusedError(403, f"{host.name} leads to a private address")
        for address in addresses:
            with suppress(OSError, TimeoutError):
                return await self._connect(address, host.port)
        raise _RefusedError(502, f"{host.name}:{host.port} does not answer")

    async def _connect(
        self, address: Address, port: int
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        opening = asyncio.open_connection(str(address), port)
        reader, writer = await asyncio.wait_for(opening, DIAL_SECONDS)
        peer = str(writer.get_extra_info("peername")[0]).partition("%")[0]
        if ipaddress.ip_address(peer) != address:
            writer.transport.abort()
            raise _RefusedError(403, "connected to another address than was asked for")
        return reader, writer

    def _tell(self, reason: str) -> None:
        # A program may try again and again; the operator needs to read it once.
        if reason not in self._told and len(self._told) < _MAX_TOLD:
            self._told.add(reason)
            self._log.warning("kept a program from the network", reason=reason)


async def _both_ways(
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    far_reader: asyncio.StreamReader,
    far_writer: asyncio.StreamWriter,
) -> None:
    ways = (
        asyncio.ensure_future(_pump(reader, far_writer)),
        asyncio.ensure_future(_pump(far_reader, writer)),
    )
    try:
        await asyncio.gather(*ways)
    finally:
        for way in ways:
            way.cancel()
        await asyncio.gather(*ways, return_exceptions=True)


async def _pump(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
    while chunk := await source.read(_CHUNK):
        sink.write(chunk)
        await sink.drain()
    if sink.can_write_eof():
        sink.write_eof()
