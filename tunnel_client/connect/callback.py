"""The page on this machine to which a login in the browser comes back (RFC 8252 section 7.3)."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from urllib.parse import parse_qsl

import anyio

HOST = "127.0.0.1"
PATH = "/callback"
MAX_HEAD = 16 * 1024
MAX_VISITS = 16
HEAD_SECONDS = 10.0

Brought = Mapping[str, str]
_HEADERS = (
    "Content-Type: text/html; charset=utf-8\r\nConnection: close\r\nCache-Control: no-store\r\n"
    "Referrer-Policy: no-referrer\r\nX-Content-Type-Options: nosniff\r\n"
    "Content-Security-Policy: default-src 'none'; style-src 'unsafe-inline'; "
    "frame-ancestors 'none'\r\n"
)
_STYLE = (
    "body{font:1.1rem/1.5 system-ui,sans-serif;max-width:32rem;margin:20vh auto;padding:0 1rem;"
    "color-scheme:light dark}"
)


class Callback:
    """Waits for the one visit that brings the answer; anybody on this machine may knock."""

    def __init__(self, is_ours: Callable[[Brought], bool]) -> None:
        self._is_ours = is_ours
        self._visits = 0
        self._answer: asyncio.Future[dict[str, str]] = asyncio.get_running_loop().create_future()
        self.redirect_uri = ""
        self._host = ""

    async def answer(self) -> dict[str, str]:
        """Return what the browser brought, once it is ours."""
        return await self._answer

    def listens_on(self, port: int) -> None:
        """Take note of the port the system gave."""
        self._host = f"{HOST}:{port}"
        self.redirect_uri = f"http://{self._host}{PATH}"

    async def visit(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection."""
        self._visits += 1
        try:
            if self._visits <= MAX_VISITS:
                with anyio.move_on_after(HEAD_SECONDS):
                    writer.write(self._page(await reader.readuntil(b"\r\n\r\n")))
                    await writer.drain()
        except (asyncio.IncompleteReadError, asyncio.LimitOverrunError, OSError):
            pass
        finally:
            self._visits -= 1
            writer.close()

    def _page(self, head: bytes) -> bytes:
        lines = head.decode("latin-1").split("\r\n")
        method, _, rest = lines[0].partition(" ")
        target = rest.partition(" ")[0]
        path, _, query = target.partition("?")
        hosts = [line.partition(":")[2].strip() for line in lines if line[:5].lower() == "host:"]
        if hosts != [self._host]:
            return _write("421 Misdirected Request", "This page is not for you.")
        if method != "GET" or path != PATH:
            return _write("404 Not Found", "There is nothing here.")
        try:
            pairs = parse_qsl(query, keep_blank_values=True, max_num_fields=20)
        except ValueError:
            pairs = []
        brought = dict(pairs)
        # A parameter that comes twice has two meanings (RFC 6749 section 3.1).
        if len(brought) != len(pairs) or self._answer.done() or not self._is_ours(brought):
            return _write("400 Bad Request", "This is not the login that is waited for.")
        self._answer.set_result(brought)
        if "error" in brought:
            return _write("200 OK", "The login was not completed. You can close this window.")
        return _write("200 OK", "Thank you. You can close this window and go back to your agent.")


@asynccontextmanager
async def callback(is_ours: Callable[[Brought], bool]) -> AsyncIterator[Callback]:
    """Listen on a free port of this machine for as long as the block lasts."""
    waiting = Callback(is_ours)
    server = await asyncio.start_server(waiting.visit, HOST, 0, limit=MAX_HEAD)
    try:
        waiting.listens_on(server.sockets[0].getsockname()[1])
        yield waiting
    finally:
        server.close()


def _write(status: str, text: str) -> bytes:
    page = (
        '<!doctype html><html lang="en"><meta charset="utf-8"><title>mcp-tunnel</title>'
        f"<style>{_STYLE}</style><h1>mcp-tunnel</h1><p>{text}</p></html>"
    ).encode()
    return f"HTTP/1.1 {status}\r\n{_HEADERS}Content-Length: {len(page)}\r\n\r\n".encode() + page
