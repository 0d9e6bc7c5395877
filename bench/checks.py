"""What the checks of session and limits cost a whole call: `python -m bench.checks [--reps N]`.

Two tunnels beside each other, loaded in turn: one with the relay as it ships, one whose relay
remembers its verdict (`bench.unchecked`). Compared is the processor time of the relay's process in
the same round, so that what other programs do to the machine hits both.
"""

import statistics
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import click

from bench.base import Peer
from bench.cost import ENDS, READS, Corner, added
from bench.load import open_mcp_session
from bench.procs import Group
from bench.product import tunnel, tunnel_unchecked
from bench.stats import quantile
from bench.upstreams import Upstream, start_static

SHIPPED, REMEMBERED = "checks each call", "remembers its verdict"
CORNERS: dict[str, Callable[[Group, Upstream], Peer]] = {
    SHIPPED: tunnel,
    REMEMBERED: tunnel_unchecked,
}
PROMISE_US = 20.0


def measure(folder: Path, reps: int, seconds: float) -> dict[str, Corner]:
    """Measure both, interleaved, each first in every other round."""
    corners: dict[str, Corner] = {}
    with Group(folder / "upstream") as under:
        upstream = replace(start_static(under), paths={READS: "/mcp"})
        try:
            for number, (name, start) in enumerate(CORNERS.items()):
                corners[name] = Corner(start(Group(folder / f"tunnel{number}"), upstream))
                open_mcp_session(corners[name].peer)
                corners[name].load(1)
                corners[name].us, corners[name].rate = {end: [] for end in ENDS}, []
            for rep in range(reps):
                order = list(corners.values())
                for corner in order if rep % 2 else reversed(order):
                    corner.load(seconds)
        finally:
            for corner in corners.values():
                corner.peer.group.stop()
    return corners


def report(corners: dict[str, Corner]) -> str:
    """Return the figures as text."""
    us = {name: corner.us["relay"] for name, corner in corners.items()}
    apart = sorted(one - other for one, other in zip(us[SHIPPED], us[REMEMBERED], strict=True))
    low, high = quantile(apart, 0.25), quantile(apart, 0.75)
    lines = ["| the relay | CPU us a call | calls/s |", "| --- | ---: | ---: |"]
    for name, corner in corners.items():
        rate = statistics.median(corner.rate)
        lines.append(f"| {name} | {statistics.median(us[name]):.1f} | {rate:,.0f} |")
    cost = added(us[SHIPPED], us[REMEMBERED])
    verdict = "ok" if cost <= PROMISE_US else "NOT KEPT"
    lines += ["", f"added by the checks: {cost:.1f} us a call ({low:.1f} to {high:.1f} in half of"]
    lines.append(f"{len(apart)} rounds), promise <= {PROMISE_US:.0f} us: {verdict}")
    return "\n".join(lines)


@click.command(context_settings={"show_default": True})
@click.option("--reps", type=click.IntRange(1, 200), default=20, help="Rounds.")
@click.option("--secs", type=click.IntRange(1, 60), default=2, help="Seconds a load.")
def main(reps: int, secs: int) -> None:
    """Print the figures."""
    with tempfile.TemporaryDirectory(prefix="bench-checks-") as folder:
        print(report(measure(Path(folder), reps, secs)))


if __name__ == "__main__":
    main()
