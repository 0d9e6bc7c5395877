"""When the benchmark of calls that end by themselves says that a promise is missed."""

from bench.doc import DOCUMENT, replaced
from bench.ends import END, START, Ends


def ends(agent: float = 200.0, lease: float = 30_005.0, early: int = 0) -> Ends:
    return Ends([200.0, agent], [210.0, 220.0], [29_000.0, lease], early)


def test_a_late_end_an_early_one_and_a_lease_overdrawn_miss_the_promise() -> None:
    assert ends().kept
    assert not ends(agent=1001.0).kept
    assert not ends(lease=30_300.0).kept
    assert not ends(early=1).kept
    assert "| the agent's stream ended | 200 ms | 200 ms | 1,000 ms |" in ends().table()


def test_our_document_has_the_markers() -> None:
    replaced(DOCUMENT.read_text(), "new", START, END)
