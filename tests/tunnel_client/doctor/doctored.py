"""A set-up that a test breaks, and what the doctor says of it."""

import asyncio
import json
import ssl
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from email.utils import formatdate
from pathlib import Path
from typing import Any, NamedTuple

from shared.checkup import Line, summary
from shared.keys import PrivateKey, encode_public
from tunnel_client.doctor.table import examine
from tunnel_client.identity import Identity, StateLock
from tunnel_client.policy.start import write_default
from tunnel_client.settings import ClientSettings, parse_settings


class Verdict(NamedTuple):
    """The first line that failed, its code and cause, and every line by its name."""

    broken: str | None
    code: str
    cause: str
    lines: dict[str, Line]

    def outcome(self, name: str) -> str:
        return self.lines[name].outcome.value


def enrolled(folder: Path, url: str | list[str], *more: str, upstreams: str = "") -> ClientSettings:
    """Write what an enrolled client has, and return its settings; `more` goes into [relay]."""
    key = encode_public(PrivateKey.generate().public)
    text = [
        f"state_dir = {json.dumps(str(folder / 'state'))}",
        "[relay]",
        f"url = {json.dumps(url)}",
        'tunnel = "lab"',
        f"public_key = {json.dumps(key)}",
        *more,
        upstreams,
    ]
    with StateLock(folder / "state"):
        Identity.create(folder / "state").save()
    write_default(folder / "policy.yaml")
    return parse_settings("\n".join(text), folder / "client.toml", {})


async def verdict(settings: ClientSettings, **given: Any) -> Verdict:
    """Have the doctor look."""
    environ = given.pop("environ", {"PATH": "/usr/bin:/bin"})
    lines = [line async for line in examine(settings, environ, **given)]
    broken = summary(lines)["broken"]
    found = {line.name: line for line in lines}
    fault = found[broken].fault if broken else None
    assert broken is None or fault is not None
    code, cause = ("", "") if fault is None else (fault.code, fault.cause)
    assert fault is None or fault.next
    return Verdict(broken, code, cause, found)


Answer = Callable[[str], bytes]
"""The whole answer to a request, from its first line."""


def ready(date: float | None = None) -> bytes:
    """What a relay answers to /readyz, by a clock of its own."""
    body = b'{"ready": true, "reason": null, "links": 1, "streams": 0}'
    when = formatdate(time.time() if date is None else date, usegmt=True)
    return b"HTTP/1.1 200 OK\r\nDate: %b\r\nContent-Length: %d\r\n\r\n%b" % (
        when.encode(),
        len(body),
        body,
    )


def said(status: int, body: bytes) -> bytes:
    """Some answer."""
    return b"HTTP/1.1 %d X\r\nContent-Length: %d\r\n\r\n%b" % (status, len(body), body)


@asynccontextmanager
async def answering(answer: Answer, tls: ssl.SSLContext | None = None) -> AsyncIterator[int]:
    """Listen on loopback as something that answers one request a connection; yields its port."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            with suppress(OSError, asyncio.IncompleteReadError):
                head = await reader.readuntil(b"\r\n\r\n")
                writer.write(answer(head.decode("latin-1").partition("\r\n")[0]))
                await writer.drain()
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=tls)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
