"""Results as Markdown tables: pure."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from bench.acceptance import Bound
from bench.rows import Results
from bench.stats import median

UPSTREAMS = {
    "static": "C-speed upstream (nginx, fixed answers)",
    "mcp": "cheap MCP upstream (Python, over HTTP or stdio)",
}


@dataclass(frozen=True, slots=True)
class Column:
    """One column: which figure at which point, and how it is written."""

    title: str
    metric: str
    point: str
    figure: str
    digits: int = 0
    scale: float = 1
    # Instead of the figure, its ratio to this peer's.
    base: str = ""


def number(value: float, digits: int) -> str:
    """A figure with thousands separated; a dash when there is none."""
    return "-" if math.isnan(value) else f"{value:,.{digits}f}"


def table(titles: Sequence[str], lines: Iterable[Sequence[str]]) -> str:
    """A Markdown table, numbers to the right."""
    rows = [titles, ["---", *("---:" for _ in titles[1:])], *lines]
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)


def _cell(results: Results, upstream: str, peer: str, column: Column) -> str:
    if column.base:
        ratio = results.ratio(
            peer, column.base, upstream, column.metric, column.point, column.figure
        )
        return number(ratio, 2)
    values = [
        value * column.scale
        for value in results.samples(peer, upstream, column.metric, column.point, column.figure)
    ]
    text = number(median(values), column.digits)
    if len(values) > 1:
        text += f" ({number(min(values), column.digits)}-{number(max(values), column.digits)})"
    return text


def _block(results: Results, upstream: str, title: str, columns: Sequence[Column]) -> str:
    metric = columns[0].metric
    peers = results.peers(upstream, metric)
    wrong = {
        row.peer for row in results.errors() if (row.upstream, row.metric) == (upstream, "correct")
    }
    lines = []
    for peer in peers:
        cells = [_cell(results, upstream, peer, column) for column in columns]
        if any(cell != "-" for cell in cells):
            lines.append([peer + (" (WRONG ANSWERS)" if peer in wrong else ""), *cells])
    if not lines:
        return ""
    head = table(["peer", *(column.title for column in columns)], lines)
    return f"### {title}, {UPSTREAMS[upstream]}\n\n{head}\n"


def _rates(results: Results, upstream: str) -> Iterable[tuple[str, Sequence[Column]]]:
    points = results.points(upstream, "rps")
    if not points:
        return
    yield (
        "Calls per second",
        [
            *(Column(point, "rps", point, "rps") for point in points),
            *(
                Column(f"x {base}, {point}", "rps", point, "rps", base=base)
                for base in ("direct", "ssh_r")
                for point in points[1:] or points
            ),
        ],
    )
    for title, figure, digits, scale in (
        ("Latency under load, p50 in ms", "p50", 2, 0.001),
        ("Latency under load, p99 in ms", "p99", 2, 0.001),
        ("CPU seconds of the peer per 10,000 calls", "cpu10k", 2, 1.0),
        ("Failed calls", "errors", 0, 1.0),
    ):
        yield title, [Column(point, "rps", point, figure, digits, scale) for point in points]


def _others(results: Results, upstream: str) -> Iterable[tuple[str, Sequence[Column]]]:
    yield (
        "Latency at one connection, us, uncorrected",
        [
            Column(told, "lat1", "c=1", figure)
            for told, figure in (("p50", "p50"), ("p90", "p90"), ("p99", "p99"), ("p99.9", "p999"))
        ],
    )
    points = results.points(upstream, "bulk")
    if points:
        ratios = [
            Column(f"x ssh_r, {point}", "bulk", point, "MBps", base="ssh_r") for point in points
        ]
        rates = [Column(point, "bulk", point, "MBps") for point in points]
        yield "Big answers, MB/s", [*rates, *ratios]
        cpu = [Column(point, "bulk", point, "cpu_per_gb", 2) for point in points]
        yield "CPU seconds of the peer per GB", cpu
    points = results.points(upstream, "fairness")
    for title, figure in (("p50", "p50"), ("p99", "p99")):
        if points:
            columns = [Column(point, "fairness", point, figure, 2, 0.001) for point in points]
            yield f"Small calls beside 16 MiB results, {title} in ms", columns
    if points:
        grown = [point for point in points if point.startswith("stalled")]
        yield (
            "Memory growth under stalled 16 MiB readers, MiB",
            [
                *(Column(point, "fairness", point, "grown_mib", 1) for point in grown),
                *(
                    Column(f"relay, {point}", "fairness", point, "relay_grown_mib", 1)
                    for point in grown
                ),
            ],
        )
    yield (
        "SSE events",
        [
            Column("first byte p99 ms", "sse", "paced", "first_byte_p99", 2, 0.001),
            Column("paced p50 ms", "sse", "paced", "p50", 2, 0.001),
            Column("paced p99 ms", "sse", "paced", "p99", 2, 0.001),
            Column("flood events/s", "sse", "flood", "events_s"),
            Column("CPU s per 10,000, paced", "sse", "paced", "cpu10k", 2),
            Column("flood", "sse", "flood", "cpu10k", 2),
        ],
    )
    yield (
        "Idle SSE streams, KiB each",
        [
            Column("all processes", "idle", "slope", "kib_each", 1),
            Column("relay alone", "idle", "slope", "relay_kib_each", 1),
        ],
    )
    yield "Idle links, KiB each", [Column("relay", "links", "slope", "relay_kib_each", 1)]
    yield "Start of the private side's program, ms", [Column("--help", "help", "--help", "ms")]


def results_markdown(results: Results) -> str:
    """All tables that have something in them, then the samples that failed."""
    blocks = [
        _block(results, upstream, title, columns)
        for upstream in UPSTREAMS
        for kinds in (_rates, _others)
        for title, columns in kinds(results, upstream)
    ]
    failed = [
        f"- {row.peer}, {row.upstream}, {row.metric} {row.point}: {row.error}"
        for row in results.errors()
    ]
    if failed:
        blocks.append("### Samples that failed\n\n" + "\n".join(failed) + "\n")
    return "\n".join(block for block in blocks if block)


def bounds_markdown(bounds: Iterable[Bound]) -> str:
    """The promises, what was measured, and whether they are kept."""
    lines = []
    for bound in bounds:
        limit = f"{'>=' if bound.at_least else '<='} {_with_unit(bound.limit, bound.unit)}"
        lines.append([bound.what, limit, _with_unit(bound.figure, bound.unit), bound.verdict])
    return table(["promise", "bound", "measured", "verdict"], lines)


def _with_unit(value: float, unit: str) -> str:
    if math.isnan(value) or not unit:
        return number(value, 0)
    return f"{number(value, 2 if unit in ('x', 'ms') else 1)} {unit}"
