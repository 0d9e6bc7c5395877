"""A question in words that no record has is refused with those there are."""

from pathlib import Path

import pytest

from shared.audit.log import AuditLog
from shared.audit.query import Query, Wanted
from shared.audit.words import UnknownWordError, check_words
from shared.record.kinds import BEGINNINGS, WRITTEN


@pytest.fixture
async def folder(tmp_path: Path) -> Path:
    log = AuditLog(tmp_path / "log", "test/log")
    why = {"decision": "ask_mother"}
    log.add("odd.kind", {"result": "melted", "why": why, "what": {"class": "strange"}})
    assert log.close() is None
    return log.folder


@pytest.mark.parametrize(
    ("wanted", "there"),
    [
        (
            Wanted(decision="denied"),
            "no decision 'denied'; there is: allow, require_approval",
        ),
        (
            Wanted(result="deny"),
            "no result 'deny'; there is: ok, tool_error, protocol",
        ),
        (Wanted(tool_class="delete"), "no class 'delete'; there is: read, draft, write"),
        (Wanted(kind="calls"), "no kind 'calls'; there is: call., audit., admin."),
        (Wanted(kind="link.ups"), "no kind 'link.ups'; there is: link.up, link.down"),
        (Wanted(kind="\x1b[2J"), "no kind '\\x1b[2J'; there is: call."),
    ],
)
def test_what_no_record_says_is_refused(folder: Path, wanted: Wanted, there: str) -> None:
    with Query(folder) as log, pytest.raises(UnknownWordError) as refused:
        check_words(log, wanted)
    assert str(refused.value).startswith(there), refused.value


def test_what_there_is_or_could_be_passes(folder: Path) -> None:
    with Query(folder) as log:
        for kind in (*WRITTEN, *BEGINNINGS, "call", "sess", "call.int"):
            check_words(log, Wanted(kind=kind))
        check_words(log, Wanted(decision="deny", result="ok", tool_class="read", user="nobody"))


def test_words_of_another_version_are_known_by_the_log_itself(folder: Path) -> None:
    odd = Wanted(kind="odd", decision="ask_mother", result="melted", tool_class="strange")
    with Query(folder) as log:
        check_words(log, odd)
