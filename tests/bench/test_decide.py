"""What deciding costs is what a round with it took beyond the same round without."""

from bench import decide
from bench.base import Peer
from bench.cost import READS, Corner
from bench.doc import DOCUMENT, replaced
from bench.procs import Group


def test_every_tunnel_has_a_row_and_every_figure_a_cell() -> None:
    corners = {}
    for number, name in enumerate(decide.KINDS):
        found = corners[name] = Corner(Peer(Group(DOCUMENT.parent), {}), p50={READS: []})
        found.us = {"relay": [40.0], "client": [60.0 + 10 * number]}
        found.rate = [10_000.0 / (1 + number)]
        found.p50[READS] = [0.2 + number / 10]
    rows = decide.table(corners).splitlines()
    assert rows[2].endswith("| 40.0 | 60.0 | 100.0 | +0.0 % | 10,000 | +0.0 % | 0.200 | +0.000 |")
    assert rows[3].endswith("| 40.0 | 70.0 | 110.0 | +10.0 % | 5,000 | -50.0 % | 0.300 | +0.100 |")
    assert len(rows) == 2 + len(decide.KINDS)


def test_our_document_has_the_markers() -> None:
    replaced(DOCUMENT.read_text(), "new", decide.START, decide.END)
