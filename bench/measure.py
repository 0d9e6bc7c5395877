"""The metrics: each takes a started peer and yields (point, figures)."""

import contextlib
import hashlib
import math
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from bench.base import Peer
from bench.fake_mcp import blob_text
from bench.load import Wrk, call_body, closed, exchange, latencies, open_idle, stalled
from bench.procs import Group, Meter, resident_kib
from bench.stats import latency_figures, median, slope
from bench.streams import Answer, event_streams, paced_calls, wrong_echoes
from bench.upstreams import BLOBS, MIB, Upstream, blob_document

ECHOES = 500
EVENT_STREAMS = 100
EVENT_INTERVAL_MS = 50
HELP_STARTS = 10
SLOW_SECONDS = 20.0
LINK_COUNTS = (50, 250, 500)

Sample = tuple[str, Mapping[str, float]]


class WrongAnswerError(Exception):
    """A peer gave a wrong answer; the message says which."""


@dataclass(frozen=True, slots=True)
class Options:
    """How much to measure."""

    conns: tuple[int, ...] = (1, 16, 64)
    seconds: float = 3.0
    idle: tuple[int, ...] = (1000, 2000)
    flood_events: int = 30_000
    settle: float = 1.5
    patience: float = 4.0


@dataclass(frozen=True, slots=True)
class Setting:
    """A started peer before a started upstream."""

    peer: Peer
    upstream: Upstream
    options: Options

    def meter(self) -> Meter:
        groups: list[Group] = [self.peer.group]
        if self.upstream.group is not self.peer.group:
            groups.append(self.upstream.group)
        return Meter(self.peer.group, groups, self.options.patience)

    @property
    def unique(self) -> bool:
        """A bridge matches answers by id; the static upstream always answers id 1."""
        return self.upstream.kind == "mcp"

    def relay_kib(self) -> float:
        """Resident memory of the public side alone; NaN where the peer has none."""
        return resident_kib(self.peer.relay_pids) if self.peer.relay_pids else math.nan


def correct(setting: Setting) -> Iterator[Sample]:
    """Unique echoes all at once, then whole blobs; WrongAnswerError when one differs."""
    targets = setting.peer.targets
    if setting.upstream.kind == "static":
        for name, size in BLOBS.items():
            status, _, body = exchange(targets[name], call_body("blob", {"size": size}))
            _same(name, status, body, blob_document(size))
        yield "blobs", {"wrong": 0}
        return
    wrong = wrong_echoes(targets["call"], ECHOES, timeout=90)
    if wrong:
        raise WrongAnswerError(f"{wrong} of {ECHOES} concurrent echoes")
    yield "echoes", {"wrong": 0}
    for name, size in BLOBS.items():
        status, _, body = exchange(targets["call"], call_body("blob", {"size": size}))
        text: str = Answer(status, body).message()["result"]["content"][0]["text"]
        _same(name, status, text.encode(), blob_text(size))
    yield "blobs", {"wrong": 0}


def _same(name: str, status: int, got: bytes, wanted: bytes) -> None:
    if status != 200 or hashlib.sha256(got).digest() != hashlib.sha256(wanted).digest():
        raise WrongAnswerError(
            f"blob {name}: status {status}, {len(got)} of {len(wanted)} bytes, or others"
        )


def long_enough(rate: float, conns: int, seconds: float) -> float:
    """How long to load a peer of that rate (calls/s) so that each connection gets some answers.

    A slow peer answers all connections in one wave; a short window would catch none of it, or one.
    """
    return max(seconds, min(SLOW_SECONDS, 5 * conns / max(rate, 0.1)))


def rps(setting: Setting) -> Iterator[Sample]:
    """Calls per second in a closed loop, and the peer's CPU seconds per 10,000 calls."""
    target = setting.peer.targets["call"]
    for conns in setting.options.conns:
        warm = Wrk(target, conns, 1, unique=setting.unique).figures()["requests"]
        seconds = long_enough(warm, conns, setting.options.seconds)
        with setting.meter() as meter:
            got = Wrk(target, conns, seconds, unique=setting.unique).figures()
        calls = got["requests"]
        yield (
            f"c={conns}",
            {
                "rps": calls / got["microseconds"] * 1e6,
                "p50": got["p50"],
                "p99": got["p99"],
                "calls": calls,
                "errors": got["socket_errors"] + got["refused"],
                "cpu10k": meter.cpu / calls * 1e4 if calls else math.nan,
                "others": meter.others,
            },
        )


def lat1(setting: Setting) -> Iterator[Sample]:
    """Latency of one call after another on one connection, uncorrected, in microseconds."""
    with setting.meter() as meter:
        taken = latencies(setting.peer.targets["call"], setting.options.seconds)
    yield "c=1", {**latency_figures(taken), "others": meter.others}


def bulk(setting: Setting) -> Iterator[Sample]:
    """Megabytes (10^6) per second of big answers."""
    for name in BLOBS:
        for conns in (1, 4):
            body = call_body("blob", {"size": BLOBS[name]})
            with setting.meter() as meter:
                got = Wrk(
                    setting.peer.targets[name], conns, setting.options.seconds, body
                ).figures()
            megabytes = got["bytes"] / 1e6
            yield (
                f"{name} c={conns}",
                {
                    "MBps": megabytes / got["microseconds"] * 1e6,
                    "errors": got["socket_errors"] + got["refused"],
                    "cpu_per_gb": meter.cpu / megabytes * 1e3 if megabytes else math.nan,
                    "others": meter.others,
                },
            )


def fairness(setting: Setting) -> Iterator[Sample]:
    """Small calls at a fixed rate: alone, beside a flowing 16 MiB result, beside stalled ones.

    For the stalled ones also how much memory grew, in MiB: all of the peer, and its public side.
    """
    call, big = setting.peer.targets["call"], setting.peer.targets["16m"]
    seconds, body = setting.options.seconds, call_body("blob", {"size": BLOBS["16m"]})
    paced_calls(call, 1)
    with setting.meter() as meter:
        alone = paced_calls(call, seconds)
    yield "alone", {**alone, "others": meter.others}
    with setting.meter() as meter:
        flow = Wrk(big, 1, seconds + 2, body)
        try:
            time.sleep(0.5)
            beside = paced_calls(call, seconds)
            got = flow.figures()
        finally:
            flow.kill()
    rate = got["bytes"] / got["microseconds"]
    yield "flowing", {**beside, "flow_MBps": rate, "others": meter.others}
    for readers in (1, 8):
        before, relay_before = setting.peer.group.resident_kib(), setting.relay_kib()
        with stalled(big, readers, body):
            time.sleep(setting.options.settle)
            with setting.meter() as meter:
                beside = paced_calls(call, seconds)
            grown = setting.peer.group.resident_kib() - before
            relay_grown = setting.relay_kib() - relay_before
        yield (
            f"stalled {readers}",
            {
                **beside,
                "grown_mib": grown * 1024 / MIB,
                "relay_grown_mib": relay_grown * 1024 / MIB,
                "others": meter.others,
            },
        )
        time.sleep(0.5)


def sse(setting: Setting) -> Iterator[Sample]:
    """SSE events: many paced streams at once for latency, one flood for the rate."""
    call, options = setting.peer.targets["call"], setting.options
    events = max(10, round(options.seconds * 1000 / EVENT_INTERVAL_MS))
    with setting.meter() as meter:
        got = event_streams(call, EVENT_STREAMS, events, EVENT_INTERVAL_MS, options.seconds + 30)
    cpu = meter.cpu / (EVENT_STREAMS * events) * 1e4
    yield "paced", {**got, "cpu10k": cpu, "others": meter.others}
    with setting.meter() as meter:
        got = event_streams(call, 1, options.flood_events, 0, 60)
    cpu = meter.cpu / options.flood_events * 1e4
    yield "flood", {**got, "cpu10k": cpu, "others": meter.others}


def idle(setting: Setting) -> Iterator[Sample]:
    """Resident memory with idle SSE streams open, and its slope in KiB per stream."""
    call = setting.peer.targets["call"]
    everything: list[tuple[float, float]] = []
    relay: list[tuple[float, float]] = []
    with contextlib.ExitStack() as stack:
        opened: list[socket.socket] = []
        # A few first, so that what is made only once is not counted to the streams.
        for count in (10, *setting.options.idle):
            opened += open_idle(call, count - len(opened), stack)
            time.sleep(setting.options.settle)
            kib, relay_kib = setting.peer.group.resident_kib(), setting.relay_kib()
            everything.append((count, kib))
            relay.append((count, relay_kib))
            figures = {
                "all_mib": kib / 1024,
                "relay_mib": relay_kib / 1024,
                "closed": closed(opened),
            }
            yield f"n={count}", figures
    yield "slope", {"kib_each": slope(everything), "relay_kib_each": slope(relay)}


def links(setting: Setting) -> Iterator[Sample]:
    """Memory of the public side per idle TLS link, in KiB; nothing for a peer that has no links."""
    if setting.peer.open_links is None:
        return
    points: list[tuple[float, float]] = []
    for count in LINK_COUNTS:
        with setting.peer.open_links(count):
            time.sleep(setting.options.settle)
            points.append((count, setting.relay_kib()))
            yield f"n={count}", {"relay_mib": points[-1][1] / 1024}
    yield "slope", {"relay_kib_each": slope(points)}


def help_start(setting: Setting) -> Iterator[Sample]:
    """How long `--help` of the private side's program takes, in milliseconds."""
    if not setting.peer.help_argv:
        return
    taken = []
    for _ in range(HELP_STARTS):
        start = time.perf_counter()
        subprocess.run(setting.peer.help_argv, check=True, timeout=20, stdout=subprocess.DEVNULL)
        taken.append((time.perf_counter() - start) * 1000)
    yield "--help", {"ms": median(taken)}


@dataclass(frozen=True, slots=True)
class Metric:
    """A measurement, the upstreams it makes sense over, and what it needs of the peer."""

    run: Callable[[Setting], Iterator[Sample]]
    upstreams: tuple[str, ...]
    needs_streams: bool = False
    # Measured on a newly started peer: the heap that a load left behind would hide growth.
    fresh: bool = False


METRICS = {
    # Before any speed, on a peer of its own, whatever was asked for.
    "correct": Metric(correct, ("static", "mcp"), fresh=True),
    "rps": Metric(rps, ("static", "mcp")),
    "lat1": Metric(lat1, ("static", "mcp")),
    "bulk": Metric(bulk, ("static",)),
    "fairness": Metric(fairness, ("static",), fresh=True),
    "sse": Metric(sse, ("mcp",), needs_streams=True),
    "idle": Metric(idle, ("mcp",), needs_streams=True, fresh=True),
    "links": Metric(links, ("mcp",), fresh=True),
    "help": Metric(help_start, ("mcp",)),
}
