"""What writing calls down costs, end to end: `python -m bench.cost [--reps N] [--write-doc]`.

Four tunnels stand beside each other: without a log, with one at either end, and with both. They are
loaded in turn, again and again, and each is compared with the one without in the same round: what
other programs do to the machine hits both. Processor time is what is compared; by the clock come
only the calls one after another.
"""

import datetime
import statistics
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import click

from bench import doc
from bench.audit import least
from bench.base import Peer
from bench.load import Wrk, latencies, open_mcp_session
from bench.procs import Group, busy_ns
from bench.product import tunnel_with
from bench.stats import quantile
from bench.upstreams import Upstream, start_static
from shared.jsonrpc.envelope import parse
from tunnel_client.tally import Lane, Tally
from tunnel_client.upstream.base import UpstreamRequest

START = "<!-- cost: written by `python -m bench.cost --write-doc`, do not edit -->"
END = "<!-- end of cost -->"
OFF, BOTH = "no log", "both"
CORNERS = {OFF: (), "relay": ("relay",), "client": ("client",), BOTH: ("relay", "client")}
"""Which ends keep a log."""
ENDS = ("relay", "client")
CONNS = 16
CHANGING = "change"
READS, WRITES = "call", CHANGING


@dataclass(slots=True)
class Corner:
    """One tunnel, and what was measured of it, a figure a round."""

    peer: Peer
    us: dict[str, list[float]] = field(default_factory=lambda: {end: [] for end in ENDS})
    """Microseconds of processor time a call, by end."""
    rate: list[float] = field(default_factory=list)
    p50: dict[str, list[float]] = field(default_factory=lambda: {READS: [], WRITES: []})
    """Milliseconds of a call alone, by upstream."""

    @property
    def all_us(self) -> list[float]:
        """Processor time of both ends."""
        return [sum(pair) for pair in zip(*self.us.values(), strict=True)]

    def load(self, seconds: float) -> None:
        """Load it once; RuntimeError when a call fails."""
        pids = {end: self.peer.group.pid(end) for end in ENDS}
        before = {end: busy_ns(pid) for end, pid in pids.items()}
        found = Wrk(self.peer.targets[READS], CONNS, seconds).figures()
        if found["socket_errors"] or found["refused"]:
            raise RuntimeError("calls failed")
        calls = found["requests"]
        for end, pid in pids.items():
            self.us[end].append((busy_ns(pid) - before[end]) / calls / 1000)
        self.rate.append(calls / found["microseconds"] * 1e6)

    def wait(self, seconds: float) -> None:
        """Make calls one after another, of either class."""
        for name, found in self.p50.items():
            taken = latencies(self.peer.targets[name], seconds)
            found.append(quantile(sorted(taken), 0.5) / 1e6)


def start(folder: Path, upstream: Upstream, audited: Sequence[str]) -> Corner:
    """Start a tunnel in a folder of its own."""
    peer = tunnel_with(Group(folder), upstream, audited, CHANGING)
    open_mcp_session(peer)
    return Corner(peer)


def more(corner: list[float], off: list[float]) -> float:
    """Return what was measured beside no log, in percent more: the median of all rounds."""
    pairs = zip(corner, off, strict=True)
    return statistics.median((one / other - 1) * 100 for one, other in pairs)


def added(corner: list[float], off: list[float]) -> float:
    """Return the median of what a round measured beyond that of no log."""
    return statistics.median(one - other for one, other in zip(corner, off, strict=True))


def loaded(corner: Corner, off: Corner) -> list[str]:
    """Return what a table says of a corner under load, a text a cell."""
    cells = [f"{statistics.median(corner.us[end]):.1f}" for end in ENDS]
    cells.append(f"{statistics.median(corner.all_us):.1f}")
    cells.append(f"{more(corner.all_us, off.all_us):+.1f} %")
    cells.append(f"{statistics.median(corner.rate):,.0f}")
    cells.append(f"{more(corner.rate, off.rate):+.1f} %")
    return cells


def table(corners: dict[str, Corner]) -> str:
    """Return the figures as Markdown tables."""
    off = corners[OFF]
    lines = ["| log at | relay us | client us | both us | more | calls/s | more |"]
    lines.append("| --- |" + " ---: |" * 6)
    for name, corner in corners.items():
        lines.append(f"| {name} | " + " | ".join(loaded(corner, off)) + " |")
    lines += ["", "| one call alone, p50 | no log, ms | both, ms | added, ms |"]
    lines.append("| --- | ---: | ---: | ---: |")
    both = corners[BOTH]
    for what, name in (("of class read", READS), ("of class write", WRITES)):
        without, with_both = off.p50[name], both.p50[name]
        figures = [statistics.median(without), statistics.median(with_both)]
        figures.append(added(with_both, without))
        lines.append(f"| {what} | " + " | ".join(f"{value:.3f}" for value in figures) + " |")
    return "\n".join(lines)


class _Exchange:
    """As much of an exchange as is counted."""

    def __init__(self) -> None:
        self.lane: Lane | None = None
        self.began, self.outcome = 0.0, "ok"


def counting(times: int = 20_000) -> float:
    """Return microseconds that the counts for metrics cost a call at one end; always on."""
    body = b'{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"look_up"}}'
    request = UpstreamRequest("POST", [], body, parse(body), "0" * 32, None)
    tally, exchange = Tally(), _Exchange()

    def count() -> None:
        tally.begin(exchange, "crm", request)
        tally.end(exchange)

    return least(count, times)


def rounds(corners: dict[str, Corner], reps: int, seconds: float, alone: Sequence[str]) -> None:
    """Load all in turn, after a second that does not count; `alone` make lone calls as well."""
    for corner in corners.values():
        corner.load(1)
        corner.us, corner.rate = {end: [] for end in ENDS}, []
    for _ in range(reps):
        for corner in corners.values():
            corner.load(seconds)
        for name in alone:
            corners[name].wait(seconds / 2)


def measure(folder: Path, reps: int, seconds: float) -> dict[str, Corner]:
    """Measure all corners, interleaved."""
    with Group(folder / "upstream") as under:
        upstream = start_static(under)
        upstream = replace(upstream, paths={READS: "/mcp", WRITES: "/mcp"})
        corners: dict[str, Corner] = {}
        try:
            for name, audited in CORNERS.items():
                corners[name] = start(folder / name.replace(" ", "-"), upstream, audited)
            rounds(corners, reps, seconds, alone=(OFF, BOTH))
        finally:
            for corner in corners.values():
                corner.peer.group.stop()
    return corners


@click.command(context_settings={"show_default": True})
@click.option("--reps", type=click.IntRange(1, 100), default=10, help="Rounds.")
@click.option("--secs", type=click.IntRange(1, 60), default=1, help="Seconds a load.")
@click.option("--write-doc", is_flag=True, help="Put the tables into docs/benchmarks.md.")
def main(reps: int, secs: int, write_doc: bool) -> None:
    """Print the figures."""
    with tempfile.TemporaryDirectory(prefix="bench-cost-") as folder:
        corners = measure(Path(folder), reps, secs)
    metrics = f"Counting for metrics, always on, at each end: {counting():.2f} us a call."
    text = f"{table(corners)}\n\n{metrics}"
    print(text)
    if write_doc:
        when = doc.machine(datetime.datetime.now(datetime.UTC))
        doc.write(f"{when}\n\n{text}", START, END)


if __name__ == "__main__":
    main()
