"""Rows: written and read back, medians, and noisy samples giving way to quiet ones."""

import math
from pathlib import Path

from bench.rows import Results, Row, read, write


def rate(rep: int, value: float, others: float = 0.0, peer: str = "a") -> Row:
    return Row(peer, "static", "rps", "c=1", rep, {"rps": value, "others": others})


def test_rows_come_back_as_they_were_written(tmp_path: Path) -> None:
    rows = [rate(0, 10), Row("b", "mcp", "start", "", 1, error="no such program")]
    for one in rows:
        write(one, tmp_path / "rows.jsonl")
    assert read([tmp_path / "rows.jsonl"]) == rows


def test_a_quiet_sample_outweighs_all_noisy_ones() -> None:
    results = Results([rate(0, 10), rate(1, 99, others=0.9), rate(2, 98, others=0.9)])
    assert results.median("a", "static", "rps", "c=1", "rps") == 10


def test_noisy_samples_count_where_there_is_no_quiet_one() -> None:
    results = Results([rate(0, 10, others=0.9), rate(1, 30, others=0.9)])
    assert results.median("a", "static", "rps", "c=1", "rps") == 20


def test_a_sample_that_is_not_a_number_is_left_out() -> None:
    results = Results([rate(0, math.nan), rate(1, 30, others=0.9)])
    assert results.median("a", "static", "rps", "c=1", "rps") == 30


def test_a_ratio_needs_both_sides_and_a_base_above_zero() -> None:
    results = Results([rate(0, 30), rate(0, 10, peer="b"), rate(0, 0, peer="zero")])
    assert results.ratio("a", "b", "static", "rps", "c=1", "rps") == 3
    assert math.isnan(results.ratio("a", "zero", "static", "rps", "c=1", "rps"))
    assert math.isnan(results.ratio("a", "nobody", "static", "rps", "c=1", "rps"))


def test_peers_and_points_keep_the_order_of_the_run() -> None:
    results = Results([rate(0, 1, peer="z"), rate(0, 1, peer="a"), rate(1, 1, peer="z")])
    assert results.peers("static", "rps") == ["z", "a"]
    assert results.points("static", "rps") == ["c=1"]
