"""What is measured of a log is what it says, and a log that fails is no figure."""

from pathlib import Path

import pytest

from bench import audit
from bench.doc import DOCUMENT, replaced
from shared.audit.query import Query


async def test_the_log_holds_what_is_asked_for(tmp_path: Path) -> None:
    log, took = await audit.fill(tmp_path / "log", 4000)
    assert log.size >= 4000
    assert took > 0
    with Query(log.folder) as query:
        found = {what: len(query.page(wanted).records) for what, wanted in audit.QUESTIONS.items()}
    assert found.pop("what is not there") == 0
    assert found.pop("those of one user") <= found["calls that ended in a timeout"]
    assert min(found.values()) > 0
    rates = audit.verifying(log, repeats=1)
    assert min(rates.values()) > 0
    (log.folder / "checkpoints").write_text("")
    next(log.folder.glob("*.jsonl")).write_bytes(b"{}\n")
    with pytest.raises(RuntimeError, match="does not verify"):
        audit.verifying(log, repeats=1)


def test_every_row_has_a_figure() -> None:
    text = audit.table(records=1500, times=20)
    rows = [line for line in text.splitlines() if line.startswith("| ")]
    assert len(rows) == 3 * 2 + 7 + 2 + 2 + len(audit.QUESTIONS)


def test_our_document_has_the_markers() -> None:
    replaced(DOCUMENT.read_text(), "new", audit.START, audit.END)
