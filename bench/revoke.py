"""How soon a revocation is true: `python -m bench.revoke [COUNT] [--write-doc]`.

Each session has a call that runs as an event stream at a real upstream. Beside it 16 connections of
another session call without a pause. A session is revoked by the command that admins give, over the
relay's control socket; measured is when the agent's stream ended and when the upstream's connection
was closed. The upstream sends an event every millisecond until then, which says when it was sent.
An event that was sent after the report to the admin, or that follows the relay's error, is a late
result. Exit code 1 when a promise is missed.
"""

import asyncio
import datetime
import json
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import httptools

from bench import doc
from bench.base import HOST, Target
from bench.load import FIRST_ID, Wrk, call_body, post
from bench.needs import NGINX, WRK
from bench.procs import Group
from bench.product import tunnel
from bench.stats import quantile
from bench.upstreams import INTRODUCED, Upstream, start_static
from tunnel_relay.admin.call import call_control

CONNECTIONS = 16
TICK = 0.001
"""Seconds between two events of a running call."""
BOUND_MS = 250.0
"""The promise, at p99, for the agent's stream and for the upstream's call."""
START = "<!-- revocation: written by `python -m bench.revoke --write-doc`, do not edit -->"
END = "<!-- end of revocation -->"
PAUSE = 0.05
"""Seconds between two revocations; the load goes on meanwhile."""
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"


def chunk(text: bytes) -> bytes:
    """One event as one chunk of a response."""
    event = b"event: message\ndata: %b\n\n" % text
    return b"%x\r\n%b\r\n" % (len(event), event)


def introduced(text: bytes) -> bytes:
    """A response that says what the server offers, so that its tools can be pinned."""
    head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
    return head % len(text) + text


@dataclass
class Slow:
    """The private server: begins an event stream for each call and waits."""

    begun: dict[int, asyncio.Event] = field(default_factory=dict)
    ended: dict[int, float] = field(default_factory=dict)
    gone: dict[int, asyncio.Event] = field(default_factory=dict)

    def over(self, call: int) -> asyncio.Event:
        """Return what is set when a call has ended."""
        return self.gone.setdefault(call, asyncio.Event())

    def started(self, call: int) -> asyncio.Event:
        """Return what is set when a call has arrived."""
        return self.begun.setdefault(call, asyncio.Event())


class SlowConnection(asyncio.Protocol):
    """One connection of the client to the private server."""

    def __init__(self, server: Slow) -> None:
        self._server = server
        self._parser = httptools.HttpRequestParser(self)
        self._body = b""
        self._call = 0
        self._transport: asyncio.Transport | None = None
        self._ticking: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_body(self, body: bytes) -> None:
        self._body += body

    def on_message_complete(self) -> None:
        message, self._body = json.loads(self._body), b""
        self._call = int(message["id"])
        introduction = INTRODUCED.get(str(message.get("method")))
        if introduction is not None and self._transport is not None:
            self._transport.write(introduced(introduction.encode()))
            return
        if self._transport is not None:
            self._transport.write(HEAD + chunk(b'{"begun":true}'))
            self._tick()
        self._server.started(self._call).set()

    def _tick(self) -> None:
        if self._transport is not None:
            self._transport.write(chunk(b'{"sent":%.6f}' % time.monotonic()))
        self._ticking = asyncio.get_running_loop().call_later(TICK, self._tick)

    def connection_lost(self, exc: Exception | None) -> None:
        self._server.ended[self._call] = time.monotonic()
        self._server.over(self._call).set()
        if self._ticking is not None:
            self._ticking.cancel()


class Stream(asyncio.Protocol):
    """One agent's running call."""

    def __init__(self, request: bytes) -> None:
        self._request = request
        self.body = b""
        self.ended: asyncio.Future[float] = asyncio.get_running_loop().create_future()
        self._parser = httptools.HttpResponseParser(self)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        cast(asyncio.Transport, transport).write(self._request)

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_body(self, body: bytes) -> None:
        self.body += body

    def on_message_complete(self) -> None:
        self._end()

    def connection_lost(self, exc: Exception | None) -> None:
        self._end()

    def _end(self) -> None:
        if not self.ended.done():
            self.ended.set_result(time.monotonic())


@dataclass
class Timings:
    """Milliseconds since the command was given, one of each for each revocation."""

    agent: list[float] = field(default_factory=list)
    upstream: list[float] = field(default_factory=list)
    command: list[float] = field(default_factory=list)
    late: int = 0
    unfinished: int = 0
    load: float = 0.0

    @property
    def kept(self) -> bool:
        """Whether every promise was kept."""
        worst = max(quantile(sorted(values), 0.99) for values in (self.agent, self.upstream))
        return worst < BOUND_MS and not self.late and not self.unfinished

    def table(self) -> str:
        """The figures as a Markdown table."""
        rows = ["| from the command to | p50 | p99 | worst |", "| --- | ---: | ---: | ---: |"]
        for what, values in (
            ("the agent's stream ended", self.agent),
            ("the upstream's call cancelled", self.upstream),
            ("the report to the admin", self.command),
        ):
            figures = sorted(values)
            shown = (quantile(figures, 0.5), quantile(figures, 0.99), figures[-1])
            rows.append(f"| {what} | " + " | ".join(f"{ms:.1f} ms" for ms in shown) + " |")
        counted = (
            f"{len(self.agent)} revocations beside {self.load:,.0f} calls/s. "
            f"Late results delivered: {self.late}. Streams that did not end: {self.unfinished}."
        )
        return "\n".join([*rows, "", counted])


def late_events(body: bytes, reported: float) -> int:
    """Count the events an agent got that were sent after `reported`, or came after the error."""
    late, over = 0, False
    for line in body.split(b"\n")[:-1]:  # the last one is not whole
        if line.startswith(b"data: {"):
            event = json.loads(line[6:])
            late += over or event.get("sent", 0.0) > reported
            over = over or "error" in event
    return late


async def measure(place: Target, control: Path, slow: Slow, count: int) -> Timings:
    """Revoke `count` sessions one after another, each in the middle of a call."""
    timings = Timings()
    for number in range(count):
        call = FIRST_ID + number
        made = await ask(
            *(control, "session_create"),
            user=f"https://id.example#{number}",
            agent="a",
            server="bench/slow",
        )
        request = post(bearing(place, made["token"]), call_body("echo", {}, call))
        loop = asyncio.get_running_loop()
        _, stream = await loop.create_connection(lambda r=request: Stream(r), HOST, place.port)  # type: ignore[misc] # bound now
        await asyncio.wait_for(slow.started(call).wait(), 20)
        await asyncio.sleep(PAUSE)
        began = time.monotonic()
        await ask(control, "session_revoke", session=made["session"]["id"])
        reported = time.monotonic()
        timings.command.append((reported - began) * 1000)
        try:
            ended = await asyncio.wait_for(stream.ended, 10)
            timings.agent.append((ended - began) * 1000)
            timings.upstream.append((slow.ended[call] - began) * 1000)
        except (TimeoutError, KeyError):
            timings.unfinished += 1
        timings.late += late_events(stream.body, reported)
    return timings


def bearing(place: Target, token: str) -> Target:
    """The same server, called with another session's token."""
    return Target(place.port, place.path, {"Authorization": f"Bearer {token}"}, place.tls)


async def ask(control: Path, command: str, **arguments: object) -> Any:
    """Give the running relay a command, off the loop that takes the times."""
    return await asyncio.to_thread(call_control, control, command, dict(arguments))


async def run(count: int, folder: Path) -> Timings:
    """Start everything, measure, stop everything."""
    slow = Slow()
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: SlowConnection(slow), HOST, 0)
    port = server.sockets[0].getsockname()[1]
    with Group(folder / "upstream") as under, Group(folder / "peer") as group:
        static = await asyncio.to_thread(start_static, under)
        upstream = Both("static", static.port, under, {"call": "/mcp", "slow": "/mcp"})
        SLOW_PORT["slow"] = port
        peer = await asyncio.to_thread(tunnel, group, upstream)
        seconds = count * (PAUSE + 0.2) + 5
        load = await asyncio.to_thread(Wrk, peer.targets["call"], CONNECTIONS, seconds)
        try:
            control = folder / "peer" / "relay" / "state" / "control.sock"
            before, since = await calls(control), time.monotonic()
            timings = await measure(peer.targets["slow"], control, slow, count)
            timings.load = (await calls(control) - before) / (time.monotonic() - since)
        finally:
            load.kill()
    server.close()
    return timings


async def calls(control: Path) -> int:
    """Return how many calls the session of the load has made so far."""
    found = await ask(control, "session_list", query="bench/call")
    return sum(each["calls"] for each in found["sessions"])


SLOW_PORT: dict[str, int] = {}


class Both(Upstream):
    """nginx for the load, and the slow server beside it."""

    def url(self, name: str) -> str:
        """Where a server listens."""
        port: Mapping[str, int] = SLOW_PORT
        return f"http://{HOST}:{port.get(name, self.port)}{self.paths[name]}"


def main() -> None:
    """Print the table; with --write-doc put it into docs/benchmarks.md."""
    given = [word for word in sys.argv[1:] if word != "--write-doc"]
    count = int(given[0]) if given else 200
    NGINX.path()
    WRK.path()
    with tempfile.TemporaryDirectory(prefix="revoke-") as folder:
        timings = asyncio.run(run(count, Path(folder)))
    print(timings.table())
    if "--write-doc" in sys.argv:
        when = doc.machine(datetime.datetime.now(datetime.UTC))
        doc.write(f"{when}\n\n{timings.table()}", START, END)
    sys.exit(0 if timings.kept else 1)


if __name__ == "__main__":
    main()
