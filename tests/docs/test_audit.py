"""docs/audit.md says what records hold, and its program verifies a log."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from shared.audit.segments import segments
from shared.record.model import FAMILIES, KINDS, MEMBERS, Result
from shared.record.redact import Redactor
from tests.helpers.log_lines import written

TEXT = (Path(__file__).resolve().parents[2] / "docs" / "audit.md").read_text(encoding="utf-8")
PROGRAM = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)[0]


def rows(heading: str) -> dict[str, str]:
    """Return the rows of the first table behind a text."""
    _, _, rest = TEXT.partition(heading)
    table = rest.partition("| --- | --- |\n")[2].partition("\n\n")[0]
    return dict(re.findall(r"^\| `([^`]+)` \| (.*) \|$", table, re.MULTILINE))


@pytest.mark.parametrize(
    ("heading", "wanted"),
    [("### Members", MEMBERS), ("### Kinds", KINDS), ("begin with one of these words", FAMILIES)],
)
def test_the_tables_are_those_of_the_model(heading: str, wanted: dict[str, str]) -> None:
    assert rows(heading) == wanted
    assert list(rows(heading)) == list(wanted)


def test_every_result_is_named() -> None:
    named = TEXT.partition("### Results\n\n")[2].partition(".")[0]
    assert named == ", ".join(f"`{each}`" for each in Result)


def run(folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        (sys.executable, "-I", "-c", PROGRAM),
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


async def test_a_log_is_verified_with_nothing_of_ours(tmp_path: Path) -> None:
    """A03, A04, A06: the program in the document, in a Python without our packages."""
    log = await written(tmp_path / "log", 60, segment_bytes=8_000)
    done = run(log.folder)
    assert (done.returncode, done.stdout) == (0, f"{log.size} records\n"), done.stderr
    part = segments(log.folder)[1]
    held = part.path.read_bytes()
    part.path.write_bytes(held.replace(b"look_up", b"look_UP", 1))
    assert f"record {part.first}" in run(log.folder).stderr
    part.path.write_bytes(held)
    notes = log.folder / "checkpoints"
    notes.write_text(notes.read_text().replace(f"\n{log.size}\n", f"\n{log.size - 1}\n"))
    assert f"checkpoint of {log.size - 1}" in run(log.folder).stderr


def test_an_auditor_tests_a_value_with_openssl() -> None:
    """A13: as the document says."""
    key = bytes(range(32))
    (command,) = re.findall(r"`(printf .*? HMAC)`", TEXT)
    line = command.replace("KEY", key.hex()).replace("value", "1234")
    done = subprocess.run(
        ("sh", "-c", line), capture_output=True, text=True, timeout=30, check=False
    )
    if done.returncode:
        pytest.skip(f"NOT TESTED: openssl mac is not here: {done.stderr}")
    assert Redactor(key).tag("1234") == f"hmac:{done.stdout.strip().lower()[:32]}"
