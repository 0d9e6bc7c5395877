"""Tables: Markdown that says what was measured, what failed and who answered wrong."""

import math

from bench.acceptance import Bound
from bench.rows import Results, Row
from bench.tables import bounds_markdown, number, results_markdown, table


def rate(peer: str, rep: int, value: float) -> Row:
    return Row(peer, "static", "rps", "c=16", rep, {"rps": value})


def test_a_missing_figure_is_a_dash() -> None:
    assert number(math.nan, 2) == "-"
    assert number(12345.678, 1) == "12,345.7"


def test_a_table_has_a_rule_below_its_titles() -> None:
    assert table(["peer", "x"], [["a", "1"]]).splitlines() == [
        "| peer | x |",
        "| --- | ---: |",
        "| a | 1 |",
    ]


def test_a_cell_tells_the_median_and_the_range() -> None:
    text = results_markdown(Results([rate("direct", n, v) for n, v in enumerate((10, 30, 20))]))
    assert "| direct | 20 (10-30) | 1.00 | - |" in text


def test_a_peer_that_answers_wrong_is_named_so_in_each_table() -> None:
    wrong = Row("ssh_r", "static", "correct", "", 0, error="blob 1m")
    text = results_markdown(Results([wrong, rate("ssh_r", 0, 10)]))
    assert "ssh_r (WRONG ANSWERS)" in text
    assert "- ssh_r, static, correct : blob 1m" in text


def test_promises_show_bound_figure_and_verdict() -> None:
    text = bounds_markdown([Bound("calls", 1.234, 0.9, True, "x"), Bound("wrong", 0, 0, False, "")])
    assert "| calls | >= 0.90 x | 1.23 x | ok |" in text
    assert "| wrong | <= 0 | 0 | ok |" in text
