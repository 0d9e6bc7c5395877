"""The comparison sees what totals hide, and keeps the list of expected differences short."""

import json
from pathlib import Path

import pytest

from tests.helpers.conformance_suite import (
    MISSING,
    CheckKey,
    Difference,
    Expected,
    SuiteError,
    SuiteRun,
    compare,
    read_results,
)

RESUME = CheckKey("server-sse-polling", "resume", 0)
PING = CheckKey("ping", "ping", 0)
DIRECT = SuiteRun("2025-11-25", {RESUME: "SUCCESS", PING: "SUCCESS"})
EXPECTED = Expected("2025-11-25", RESUME.scenario, "resume", frozenset({"INFO"}), "no stream")


def through(**changed: str) -> SuiteRun:
    return SuiteRun("2025-11-25", {RESUME: "SUCCESS", PING: "SUCCESS", **_keys(changed)})


def _keys(changed: dict[str, str]) -> dict[CheckKey, str]:
    return {{"resume": RESUME, "ping": PING}[name]: status for name, status in changed.items()}


def test_equal_runs_agree() -> None:
    assert compare(DIRECT, through()).agrees


def test_a_success_that_became_a_warning_is_a_difference_though_nothing_failed() -> None:
    found = compare(DIRECT, through(resume="WARNING"))
    assert found.through.failed == 0
    assert found.unexpected == (Difference(RESUME, "SUCCESS", "WARNING"),)
    assert not found.agrees


def test_a_check_that_was_never_made_is_a_difference() -> None:
    found = compare(DIRECT, SuiteRun("2025-11-25", {PING: "SUCCESS"}))
    assert found.unexpected == (Difference(RESUME, "SUCCESS", MISSING),)


def test_an_expected_difference_is_excused_with_the_status_foreseen_only() -> None:
    assert compare(DIRECT, through(resume="INFO"), [EXPECTED]).agrees
    assert not compare(DIRECT, through(resume="FAILURE"), [EXPECTED]).agrees


def test_an_expected_difference_that_did_not_come_is_stale() -> None:
    assert compare(DIRECT, through(), [EXPECTED]).stale == (EXPECTED,)


def test_remarks_of_a_scenario_go_with_its_expected_difference_only() -> None:
    remark = CheckKey(RESUME.scenario, "sent-get", 0)
    direct = SuiteRun("2025-11-25", {**DIRECT.statuses, remark: "INFO"})
    assert compare(direct, through(resume="INFO"), [EXPECTED]).agrees
    assert compare(direct, through()).unexpected == (Difference(remark, "INFO", MISSING),)


def test_what_is_expected_of_one_version_says_nothing_of_another() -> None:
    other = SuiteRun("2026-07-28", DIRECT.statuses)
    assert compare(other, other, [EXPECTED]).agrees


def test_results_are_read_per_scenario_check_and_occurrence(tmp_path: Path) -> None:
    folder = tmp_path / "server-tools-list-2026-11-22T18-29-30-143Z"
    folder.mkdir()
    checks = [{"id": "a", "status": "SUCCESS"}, {"id": "a", "status": "INFO"}]
    (folder / "checks.json").write_text(json.dumps(checks))
    assert read_results(tmp_path) == {
        CheckKey("tools-list", "a", 0): "SUCCESS",
        CheckKey("tools-list", "a", 1): "INFO",
    }


def test_a_result_folder_of_another_form_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "new-form").mkdir()
    (tmp_path / "new-form" / "checks.json").write_text("[]")
    with pytest.raises(SuiteError, match="new-form"):
        read_results(tmp_path)
