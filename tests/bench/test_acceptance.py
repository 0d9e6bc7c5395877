"""The promises: bounds from rows, kept, missed or not measured."""

import math
from dataclasses import replace

import pytest

from bench.acceptance import OURS, Bound, bounds
from bench.rows import Results, Row

AWARE = ["tunnel", "supergateway", "fastmcp_proxy"]


def row(peer: str, upstream: str, metric: str, point: str, **figures: float) -> Row:
    return Row(peer, upstream, metric, point, 0, figures)


def good_run() -> list[Row]:
    """A run in which every promise is kept with some room."""
    rows = []
    for conns, ssh, ours in ((16, 9_000, 14_000), (64, 20_000, 24_000)):
        rows += [
            row("ssh_r", "static", "rps", f"c={conns}", rps=ssh, errors=0),
            row(OURS, "static", "rps", f"c={conns}", rps=ours, errors=0),
            row(OURS, "mcp", "rps", f"c={conns}", rps=10_000, errors=0),
            row("supergateway", "mcp", "rps", f"c={conns}", rps=1_900, errors=0),
            row("fastmcp_proxy", "mcp", "rps", f"c={conns}", rps=35, errors=0),
        ]
    for conns in (1, 4):
        rows += [
            row("ssh_r", "static", "bulk", f"16m c={conns}", MBps=200),
            row(OURS, "static", "bulk", f"16m c={conns}", MBps=210, errors=0),
        ]
    rows += [
        row("direct", "static", "lat1", "c=1", p50=90, p999=500),
        row(OURS, "static", "lat1", "c=1", p50=340, p999=2_000),
        row(OURS, "static", "fairness", "alone", p99=900, failed=0),
        row(OURS, "static", "fairness", "flowing", p99=6_700, failed=0),
        row(OURS, "static", "fairness", "stalled 1", p99=1_000, failed=0),
        row(OURS, "static", "fairness", "stalled 8", p99=1_000, failed=0, grown_mib=6),
        row(OURS, "mcp", "sse", "paced", p99=4_000, first_byte_p99=6_000, lost=0),
        row(OURS, "mcp", "idle", "slope", relay_kib_each=20),
        row(OURS, "mcp", "links", "slope", relay_kib_each=45),
        row(OURS, "mcp", "help", "--help", ms=120),
    ]
    return rows


def judged(rows: list[Row]) -> dict[str, Bound]:
    return {bound.what: bound for bound in bounds(Results(rows), AWARE)}


def changed(metric: str, point: str, upstream: str = "static", **figures: float) -> list[Row]:
    """The good run with some of our figures changed."""
    rows = good_run()
    for index, old in enumerate(rows):
        if (old.peer, old.upstream, old.metric, old.point) == (OURS, upstream, metric, point):
            rows[index] = replace(old, figures={**old.figures, **figures})
            return rows
    raise AssertionError("no such row")


def test_a_run_that_keeps_every_promise_says_so() -> None:
    assert {what: bound.verdict for what, bound in judged(good_run()).items()} == dict.fromkeys(
        judged(good_run()), "ok"
    )


def test_without_rows_nothing_is_kept_and_nothing_is_missed() -> None:
    assert {bound.verdict for bound in judged([]).values()} == {"not measured"}


PAST_THEIR_BOUND = {
    "calls/s at c=16, x ssh_r": ("rps", "c=16", "static", {"rps": 8_000}),
    "calls/s at c=64, x ssh_r": ("rps", "c=64", "static", {"rps": 12_000}),
    "calls/s at c=16, x the best MCP-aware peer": ("rps", "c=16", "mcp", {"rps": 7_000}),
    "added p50 at c=1": ("lat1", "c=1", "static", {"p50": 450}),
    "p99.9 at c=1": ("lat1", "c=1", "static", {"p999": 5_100}),
    "16 MiB results at c=1, x ssh_r": ("bulk", "16m c=1", "static", {"MBps": 150}),
    "16 MiB results at c=4, x ssh_r": ("bulk", "16m c=4", "static", {"MBps": 99}),
    "small-call p99 beside a flowing result of 16 MiB": (
        "fairness",
        "flowing",
        "static",
        {"p99": 6_900},
    ),
    "small-call p99 beside a stalled reader of 16 MiB": (
        "fairness",
        "stalled 1",
        "static",
        {"p99": 7_000},
    ),
    "memory growth under 8 stalled 16 MiB readers": (
        "fairness",
        "stalled 8",
        "static",
        {"grown_mib": 17},
    ),
    "SSE event p99, events 50 ms apart": ("sse", "paced", "mcp", {"p99": 51_000}),
    "relay memory per idle SSE stream": ("idle", "slope", "mcp", {"relay_kib_each": 26}),
    "relay memory per idle TLS link": ("links", "slope", "mcp", {"relay_kib_each": 65}),
    "`tunnel-client --help`": ("help", "--help", "mcp", {"ms": 210}),
}


@pytest.mark.parametrize("what", PAST_THEIR_BOUND)
def test_a_figure_past_its_bound_misses_that_promise_only(what: str) -> None:
    metric, point, upstream, figures = PAST_THEIR_BOUND[what]
    found = judged(changed(metric, point, upstream, **figures))
    assert [name for name, bound in found.items() if bound.verdict != "ok"] == [what]
    assert found[what].verdict == "missed"


def test_the_best_mcp_aware_peer_counts_not_the_last() -> None:
    found = judged(good_run())["calls/s at c=16, x the best MCP-aware peer"]
    assert found.figure == pytest.approx(10_000 / 1_900)


def test_an_error_under_load_breaks_the_promise_of_right_answers() -> None:
    found = judged(changed("rps", "c=16", errors=3))["wrong, failed or lost answers, all loads"]
    assert (found.figure, found.verdict) == (3, "missed")


def test_a_sample_of_ours_that_failed_is_a_wrong_answer() -> None:
    failed = Row(OURS, "mcp", "correct", "", 0, error="1 of 500 concurrent echoes")
    found = judged([*good_run(), failed])["wrong, failed or lost answers, all loads"]
    assert found.verdict == "missed"


def test_a_peer_that_could_not_start_gave_no_wrong_answers() -> None:
    missing = Row(OURS, "mcp", "start", "rps", 0, error="MISSING program")
    assert judged([missing])["wrong, failed or lost answers, all loads"].verdict == "not measured"


def test_a_figure_exactly_on_its_bound_keeps_it() -> None:
    assert Bound("x", 4.0, 4.0, True, "").kept
    assert Bound("x", 4.0, 4.0, False, "").kept
    assert Bound("x", math.nan, 4.0, False, "").kept is None
    assert Bound("x", 4.0, math.nan, True, "").kept is None
