"""What a log costs is what a round with it took beyond the same round without."""

import os

from bench import cost
from bench.base import Peer
from bench.doc import DOCUMENT, replaced
from bench.procs import Group, busy_ns


def test_each_round_is_compared_with_its_own() -> None:
    off, log = [10.0, 20.0, 40.0], [11.0, 22.0, 80.0]
    assert round(cost.more(log, off), 6) == 10.0
    assert cost.added(log, off) == 2.0


def test_every_corner_has_a_row_and_every_figure_a_cell() -> None:
    def corner() -> cost.Corner:
        found = cost.Corner(Peer(Group(DOCUMENT.parent), {}))
        found.us = {"relay": [40.0], "client": [35.0]}
        found.rate = [10_000.0]
        found.p50 = {cost.READS: [0.2], cost.WRITES: [0.3]}
        return found

    rows = cost.table({name: corner() for name in cost.CORNERS}).splitlines()
    assert rows[2] == "| no log | 40.0 | 35.0 | 75.0 | +0.0 % | 10,000 | +0.0 % |"
    assert len(rows) == 2 + len(cost.CORNERS) + 1 + 2 + 2
    assert rows[-1] == "| of class write | 0.300 | 0.300 | 0.000 |"


def test_processor_time_of_a_process_only_grows() -> None:
    before = busy_ns(os.getpid())
    assert 0 < before <= busy_ns(os.getpid())


def test_counting_costs_something() -> None:
    assert cost.counting(10) > 0


def test_our_document_has_the_markers() -> None:
    replaced(DOCUMENT.read_text(), "new", cost.START, cost.END)
