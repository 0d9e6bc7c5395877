"""The benchmark: `python -m bench`, run by hand, all on loopback."""

import contextlib
import datetime
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import click

from bench import acceptance, doc, measure, needs, rows, tables
from bench.load import open_mcp_session
from bench.measure import METRICS, Options, Setting, WrongAnswerError
from bench.peers import PEERS
from bench.procs import Group
from bench.rows import Results, Row
from bench.upstreams import STARTS, Upstream

RESULTS = Path(__file__).parent / "results"
# What a peer or a load may fail with; anything else is a fault of the benchmark itself.
FAILURES = (OSError, RuntimeError, ValueError, LookupError, TypeError, subprocess.SubprocessError)


class Bench:
    """One run: peers interleaved repeat by repeat, so that ratios compare like with like."""

    def __init__(self, metrics: list[str], options: Options, out: Path, scratch: Path) -> None:
        self.metrics = metrics
        self.options = options
        self.out = out
        self.scratch = scratch
        self.rows: list[Row] = []

    def run(self, peers: list[str], reps: int) -> None:
        """Measure everything; a peer that fails leaves a row that says so, and the run goes on."""
        for rep in range(reps):
            for kind in STARTS:
                for name in peers:
                    for metrics in self._rounds(name, kind, rep):
                        self._peer(name, kind, rep, metrics)

    def _rounds(self, name: str, kind: str, rep: int) -> Iterator[list[str]]:
        """What to measure of a peer, one list for each time it is started."""
        peer = PEERS[name]
        wanted = [
            metric
            for metric in self.metrics
            if metric != "correct"
            and kind in peer.upstreams
            and kind in METRICS[metric].upstreams
            and (peer.streams or not METRICS[metric].needs_streams)
            and (peer.has_links or metric not in ("links", "help"))
        ]
        if wanted and rep == 0:
            yield ["correct"]
        if together := [metric for metric in wanted if not METRICS[metric].fresh]:
            yield together
        yield from ([metric] for metric in wanted if METRICS[metric].fresh)

    def _peer(self, name: str, kind: str, rep: int, metrics: list[str]) -> None:
        folder = self.scratch / f"{rep}-{kind}-{name}-{metrics[0]}"
        with Group(folder / "upstream") as under, Group(folder / "peer") as group:
            try:
                upstream = STARTS[kind](under)
                setting = self._started(name, group, upstream)
            except needs.MissingError as lacking:
                self._note(Row(name, kind, "start", metrics[0], rep, error=f"MISSING {lacking}"))
                return
            except FAILURES as error:
                self._note(Row(name, kind, "start", metrics[0], rep, error=_told(error)))
                return
            for metric in metrics:
                self._samples(metric, METRICS[metric].run(setting), name, kind, rep)

    def _started(self, name: str, group: Group, upstream: Upstream) -> Setting:
        peer = PEERS[name].start(group, upstream)
        if upstream.kind == "mcp":
            open_mcp_session(peer)
        return Setting(peer, upstream, self.options)

    def _samples(
        self, metric: str, samples: Iterator[measure.Sample], name: str, kind: str, rep: int
    ) -> None:
        try:
            for point, figures in samples:
                self._note(Row(name, kind, metric, point, rep, dict(figures)))
        except (*FAILURES, WrongAnswerError) as error:
            self._note(Row(name, kind, metric, "", rep, error=_told(error)))

    def _note(self, row: Row) -> None:
        self.rows.append(row)
        rows.write(row, self.out)
        figures = " ".join(f"{name}={value:.6g}" for name, value in row.figures.items())
        print(
            row.rep, row.peer, row.upstream, row.metric, row.point, figures or row.error, flush=True
        )


def _told(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"[:300]


def _names(known: Iterable[str]) -> Callable[[click.Context, click.Parameter, str], list[str]]:
    """A callback that splits `a,b` and refuses a name that is not known."""
    allowed = list(known)

    def split(_context: click.Context, _option: click.Parameter, value: str) -> list[str]:
        chosen = value.split(",")
        for one in chosen:
            if one not in allowed:
                raise click.BadParameter(f"{one!r} is none of {', '.join(allowed)}")
        return chosen

    return split


def _counts(_context: click.Context, _option: click.Parameter, value: str) -> tuple[int, ...]:
    try:
        counts = tuple(int(one) for one in value.split(","))
    except ValueError:
        raise click.BadParameter("numbers with commas between them") from None
    if not all(1 <= count <= 1024 for count in counts):
        raise click.BadParameter("1 to 1024 connections")
    return counts


def _say_missing() -> None:
    lacking = needs.missing()
    if not lacking:
        return
    print("\n" + "=" * 72)
    print("MISSING PROGRAMS: what needs them is left out of this run.")
    for need in lacking:
        print(f"  {need.program}:  {need.install}")
    print("As root, `python -m bench --install` does this. Debian packages, all of them:")
    print(f"  apt-get install {' '.join(needs.DEBIAN)}")
    print("=" * 72 + "\n", flush=True)


@contextlib.contextmanager
def _scratch() -> Iterator[Path]:
    """A folder for one run: removed at the end, kept (and named) when the run breaks."""
    folder = Path(tempfile.mkdtemp(prefix="bench-"))
    try:
        yield folder
    except BaseException:
        print(f"logs of the processes are in {folder}", file=sys.stderr)
        raise
    shutil.rmtree(folder, ignore_errors=True)


def _prepare() -> None:
    # Thousands of streams need as many descriptors, here and in what is started from here.
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    # So that `kill` unwinds the stack, and with it everything that was started.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))


@click.command(context_settings={"show_default": True})
@click.option(
    "--quick", is_flag=True, help="One repeat of one second: shows that it works, no more."
)
@click.option(
    "--peers",
    callback=_names(PEERS),
    default=",".join(name for name, kind in PEERS.items() if kind.by_default),
    help="What to compare.",
)
@click.option(
    "--metrics", callback=_names(METRICS), default=",".join(METRICS), help="What to measure."
)
@click.option("--conns", callback=_counts, default="1,16,64", help="Connections of calls/s loads.")
@click.option(
    "--reps", type=click.IntRange(1, 50), help="Repeats, peers interleaved.  [3; quick: 1]"
)
@click.option("--secs", type=click.FloatRange(1, 120), help="Length of a load.  [3; quick: 1]")
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), default=RESULTS)
@click.option(
    "--report",
    type=click.Path(path_type=Path, exists=True),
    multiple=True,
    help="Measure nothing, make the tables of these rows (repeatable).",
)
@click.option("--write-doc", is_flag=True, help="Put the tables into docs/benchmarks.md.")
@click.option("--check", is_flag=True, help="Exit 1 when a promise is missed or not measured.")
@click.option("--install", is_flag=True, help="First install what is missing (packages need root).")
def main(
    quick: bool,
    peers: list[str],
    metrics: list[str],
    conns: tuple[int, ...],
    reps: int | None,
    secs: float | None,
    out: Path,
    report: tuple[Path, ...],
    write_doc: bool,
    check: bool,
    install: bool,
) -> None:
    """Measure the tunnel beside other ways to reach a server, on this machine."""
    if report:
        measured = rows.read(report)
        when = datetime.datetime.fromtimestamp(report[0].stat().st_mtime, datetime.UTC)
    else:
        if install:
            needs.install()
        _say_missing()
        _prepare()
        options = Options(conns=conns, seconds=secs or 3)
        if quick:
            options = Options(conns, secs or 1, (250, 500), 5000, settle=0.7, patience=1)
        when = datetime.datetime.now(datetime.UTC)
        out.mkdir(parents=True, exist_ok=True)
        file = out / f"{when:%Y%m%d-%H%M%S}.jsonl"
        with _scratch() as scratch:
            bench = Bench(metrics, options, file, scratch)
            bench.run(peers, reps or (1 if quick else 3))
        measured = bench.rows
        print(f"\nrows: {file}")
    results = Results(measured)
    bounds = acceptance.bounds(results, [name for name, kind in PEERS.items() if kind.mcp_aware])
    legend = "\n".join(
        f"- `{name}`: {kind.told}" for name, kind in PEERS.items() if kind.by_default
    )
    parts = {
        "Promises": tables.bounds_markdown(bounds),
        "Peers": legend,
        "Figures": tables.results_markdown(results),
    }
    text = "\n\n".join(f"## {title}\n\n{part}" for title, part in parts.items())
    print(f"\n{text}")
    _say_missing()
    if write_doc:
        doc.write(f"{doc.machine(when)}\n\n{text}")
    if check and not all(bound.kept for bound in bounds):
        sys.exit(1)


if __name__ == "__main__":
    main()
