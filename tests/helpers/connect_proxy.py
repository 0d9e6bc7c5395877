"""A real HTTP proxy for CONNECT (RFC 9110 section 9.3.6), with logins and a count."""

import asyncio
import base64
import contextlib
import ssl
from types import TracebackType
from typing import Self


class ConnectProxy:
    """Listens on loopback while its block runs; every tunnel ends with it.

    `sees` maps the host and port asked for to where the proxy really connects, so that names
    without an address can be used. `login` is `user:password`; None lets everybody through.
    """

    def __init__(
        self,
        sees: dict[str, tuple[str, int]] | None = None,
        login: str | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self.port = 0
        self.asked: list[str] = []
        self.refused = 0
        self._sees = sees or {}
        self._login = login
        self._tls = tls
        self._server: asyncio.Server | None = None
        self._tunnels: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0, ssl=self._tls)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._server is not None:
            self._server.close()
        for tunnel in self._tunnels:
            tunnel.cancel()
        await asyncio.gather(*self._tunnels, return_exceptions=True)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        tunnel = asyncio.get_running_loop().create_task(self._serve(reader, writer))
        self._tunnels.add(tunnel)
        tunnel.add_done_callback(self._tunnels.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            with contextlib.suppress(OSError, asyncio.IncompleteReadError):
                await self._carry(reader, writer)
        finally:
            writer.transport.abort()

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("ascii").split("\r\n")
        method, place, _ = head[0].split(" ")
        fields = dict(line.lower().split(": ", 1) for line in head[1:] if line)
        if self._login is not None:
            wanted = f"basic {base64.b64encode(self._login.encode()).decode()}".lower()
            if fields.get("proxy-authorization") != wanted:
                self.refused += 1
                writer.write(b"HTTP/1.1 407 Login first\r\nContent-Length: 0\r\n\r\n")
                await writer.drain()
                return
        assert method == "CONNECT"
        self.asked.append(place)
        host, _, port = place.rpartition(":")
        there = self._sees.get(place, (host.strip("[]"), int(port)))
        far_reader, far_writer = await asyncio.open_connection(*there)
        try:
            writer.write(b"HTTP/1.1 200 Connected\r\n\r\n")
            await asyncio.gather(_pump(reader, far_writer), _pump(far_reader, writer))
        finally:
            far_writer.transport.abort()


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()
    writer.transport.abort()
