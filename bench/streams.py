"""Concurrent loads on one event loop: unique echoes, paced small calls, stamped SSE events."""

import asyncio
import contextlib
import json
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeVar, cast

import httptools
import uvloop

from bench.base import HOST, Target
from bench.load import ECHO, FIRST_ID, call_body, post
from bench.stats import latency_figures, quantile

STAMP = re.compile(rb'"message":"(\d+)"')
STAMP_MAX = 400  # longer than any event: what may have to wait for the rest of it


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole response."""

    status: int
    body: bytes

    def message(self) -> Mapping[str, Any]:
        """The JSON-RPC message with an id, from a JSON body or an SSE body.

        ValueError when there is none.
        """
        if self.body.lstrip().startswith(b"{"):
            return _object(self.body)
        for line in self.body.splitlines():
            if line.startswith(b"data:") and line[5:].strip():
                message = _object(line[5:])
                if "id" in message:
                    return message
        raise ValueError("no JSON-RPC answer in the body")


def _object(text: bytes) -> Mapping[str, Any]:
    value = json.loads(text)
    if not isinstance(value, dict):
        raise ValueError("not a JSON object")
    return value


class Lane(asyncio.Protocol):
    """One connection that carries one exchange at a time."""

    def __init__(self) -> None:
        self._parser = httptools.HttpResponseParser(self)
        self._body: list[bytes] = []
        self._reply: asyncio.Future[Answer] | None = None
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports have the methods but not the base class.
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as error:
            self._fail(ConnectionError(str(error)))

    def on_body(self, body: bytes) -> None:
        self._body.append(body)

    def on_message_complete(self) -> None:
        body = b"".join(self._body)
        self._body.clear()
        if self._reply is not None and not self._reply.done():
            self._reply.set_result(Answer(self._parser.get_status_code(), body))

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self._fail(ConnectionError("the peer closed the connection"))

    def send(self, request: bytes) -> asyncio.Future[Answer]:
        """Send a request; its answer, or a ConnectionError, comes by the future."""
        self._reply = asyncio.get_running_loop().create_future()
        if self._transport is None:
            self._fail(ConnectionError("the connection is closed"))
        else:
            self._transport.write(request)
        return self._reply

    def close(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    def _fail(self, error: Exception) -> None:
        if self._reply is not None and not self._reply.done():
            self._reply.set_exception(error)


class EventLane(Lane):
    """A lane that takes the time of each stamped event as it arrives."""

    def __init__(self) -> None:
        super().__init__()
        self.first_byte = 0
        self.delays: list[int] = []
        self._tail = b""

    def data_received(self, data: bytes) -> None:
        self.first_byte = self.first_byte or time.monotonic_ns()
        super().data_received(data)

    def on_body(self, body: bytes) -> None:
        now = time.monotonic_ns()
        text = self._tail + body
        end = 0
        for found in STAMP.finditer(text):
            self.delays.append(now - int(found[1]))
            end = found.end()
        self._tail = text[end:][-STAMP_MAX:]


LaneKind = TypeVar("LaneKind", bound=Lane)


async def _connect(kind: type[LaneKind], target: Target) -> LaneKind:
    loop = asyncio.get_running_loop()
    _, lane = await loop.create_connection(
        kind, HOST, target.port, ssl=target.tls, server_hostname=HOST if target.tls else None
    )
    return lane


def wrong_echoes(target: Target, count: int, timeout: float) -> int:
    """How many of `count` unique echoes, all in flight at once, did not come back right."""

    async def one(lane: Lane, number: int) -> bool:
        text = f"echo {number} " + "x" * (number % 700)
        call_id = FIRST_ID + number
        body = call_body("echo", {"text": text}, call_id)
        try:
            answer = await asyncio.wait_for(lane.send(post(target, body)), timeout)
            message = answer.message()
            right: bool = message["result"]["content"][0]["text"] == text
        except (OSError, TimeoutError, ValueError, LookupError, TypeError):
            return False
        return right and answer.status == 200 and message["id"] == call_id

    async def run() -> int:
        lanes = [await _connect(Lane, target) for _ in range(count)]
        right = await asyncio.gather(*(one(lane, number) for number, lane in enumerate(lanes)))
        for lane in lanes:
            lane.close()
        return right.count(False)

    return uvloop.run(run())


def paced_calls(
    target: Target, seconds: float, rate: float = 400, conns: int = 8
) -> Mapping[str, float]:
    """Latencies of small calls sent at a fixed rate, and how many failed.

    A call that was due while its lane was still busy counts from when it was due.
    """

    async def one(lane: Lane, start: float, taken: list[int]) -> int:
        failed, step, due = 0, conns / rate, start
        while due < start + seconds:
            late = time.monotonic() - due
            if late < 0:
                await asyncio.sleep(-late)
            # A timer that fires late is our own fault, a lane still busy is the peer's.
            waited = max(0, int(late * 1e9))
            sent = time.perf_counter_ns()
            try:
                answer = await asyncio.wait_for(lane.send(post(target, ECHO)), 20)
                failed += answer.status != 200
            except (OSError, TimeoutError):
                return failed + 1
            taken.append(time.perf_counter_ns() - sent + waited)
            due += step
        return failed

    async def run() -> Mapping[str, float]:
        taken: list[int] = []
        lanes = [await _connect(Lane, target) for _ in range(conns)]
        start = time.monotonic() + 0.05
        failed = await asyncio.gather(
            *(one(lane, start + number / rate, taken) for number, lane in enumerate(lanes))
        )
        for lane in lanes:
            lane.close()
        return {**latency_figures(taken), "failed": sum(failed)}

    return uvloop.run(run())


def event_streams(
    target: Target, streams: int, events: int, interval_ms: int, timeout: float
) -> Mapping[str, float]:
    """Call `ticks` on some streams at once: when the first byte and each event arrived.

    Latencies are in microseconds from the stamp in the event (same machine, same clock); `lost`
    counts events that never came, `events_s` those that came per second.
    """

    async def one(lane: EventLane, number: int) -> int:
        arguments = {"n": events, "ms": interval_ms}
        sent = time.monotonic_ns()
        request = post(target, call_body("ticks", arguments, FIRST_ID + number))
        with contextlib.suppress(OSError, TimeoutError):
            await asyncio.wait_for(lane.send(request), timeout)
        return lane.first_byte - sent if lane.first_byte else int(timeout * 1e9)

    async def run() -> Mapping[str, float]:
        lanes = [await _connect(EventLane, target) for _ in range(streams)]
        start = time.monotonic()
        first = sorted(await asyncio.gather(*(one(lane, n) for n, lane in enumerate(lanes))))
        took = time.monotonic() - start
        delays = [delay for lane in lanes for delay in lane.delays]
        for lane in lanes:
            lane.close()
        return {
            **latency_figures(delays),
            "first_byte_p50": quantile(first, 0.5) / 1000,
            "first_byte_p99": quantile(first, 0.99) / 1000,
            "lost": streams * events - len(delays),
            "events_s": len(delays) / took,
        }

    return uvloop.run(run())
