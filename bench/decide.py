"""What deciding costs, end to end: `python -m bench.decide [--reps N] [--write-doc]`.

Three tunnels stand beside each other: one whose client lets everything pass by one rule, one as it
is delivered (policies, pins, grants), and one that has a credential for its upstream as well, which
is put in and searched for. Neither end keeps a log. They are compared as in `bench.cost`.
"""

import datetime
import statistics
import tempfile
from dataclasses import replace
from pathlib import Path

import click

from bench import doc
from bench.cost import READS, Corner, added, loaded, rounds
from bench.load import open_mcp_session
from bench.procs import Group
from bench.product import tunnel_deciding
from bench.upstreams import Upstream, start_static

START = "<!-- decide: written by `python -m bench.decide --write-doc`, do not edit -->"
END = "<!-- end of decide -->"
OFF = "one rule, all allowed"
KINDS = {
    OFF: (False, False),
    "policies, pins, grants": (True, False),
    "and a credential": (True, True),
}
"""Whether tools are pinned, and whether there is a credential."""


def start(folder: Path, upstream: Upstream, kind: tuple[bool, bool]) -> Corner:
    """Start a tunnel in a folder of its own."""
    pinned, credential = kind
    peer = tunnel_deciding(Group(folder), upstream, pinned=pinned, credential=credential)
    open_mcp_session(peer)
    return Corner(peer, p50={READS: []})


def table(corners: dict[str, Corner]) -> str:
    """Return the figures as a Markdown table; each is the median of all rounds."""
    off = corners[OFF]
    lines = [
        "| client | relay us | client us | both us | more | calls/s | more | p50, ms | added |"
    ]
    lines.append("| --- |" + " ---: |" * 8)
    for name, corner in corners.items():
        cells = loaded(corner, off)
        cells.append(f"{statistics.median(corner.p50[READS]):.3f}")
        cells.append(f"{added(corner.p50[READS], off.p50[READS]):+.3f}")
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def measure(folder: Path, reps: int, seconds: float) -> dict[str, Corner]:
    """Measure all, interleaved."""
    with Group(folder / "upstream") as under:
        upstream = start_static(under)
        upstream = replace(upstream, paths={READS: upstream.paths[READS]})
        corners: dict[str, Corner] = {}
        try:
            for number, (name, kind) in enumerate(KINDS.items()):
                corners[name] = start(folder / str(number), upstream, kind)
            rounds(corners, reps, seconds, alone=tuple(corners))
        finally:
            for corner in corners.values():
                corner.peer.group.stop()
    return corners


@click.command(context_settings={"show_default": True})
@click.option("--reps", type=click.IntRange(1, 100), default=10, help="Rounds.")
@click.option("--secs", type=click.IntRange(1, 60), default=1, help="Seconds a load.")
@click.option("--write-doc", is_flag=True, help="Put the table into docs/benchmarks.md.")
def main(reps: int, secs: int, write_doc: bool) -> None:
    """Print the figures."""
    with tempfile.TemporaryDirectory(prefix="bench-decide-") as folder:
        text = table(measure(Path(folder), reps, secs))
    print(text)
    if write_doc:
        when = doc.machine(datetime.datetime.now(datetime.UTC))
        doc.write(f"{when}\n\n{text}", START, END)


if __name__ == "__main__":
    main()
