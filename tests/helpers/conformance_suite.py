"""Run the MCP conformance suite against a URL and compare what it found, check by check.

Totals are not enough: a hop that drops `Last-Event-ID` only turns one success into a warning.
"""

import json
import re
import tempfile
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import anyio

from tests.helpers.node_packages import environment, node, node_modules

VERSIONS = ("2025-06-18", "2025-11-25", "2026-07-28")
# Checks passed by an upstream that does everything the suite asks for; none may fail.
TOTALS = {"2025-06-18": 56, "2025-11-25": 84, "2026-07-28": 152}
SUITE_SECONDS = 600.0
"""No bound on speed: a suite that hangs ends."""
MISSING = "MISSING"

_PROGRAM = Path("@modelcontextprotocol", "conformance", "dist", "index.js")
_RESULT = re.compile(r"server-(?P<scenario>.+)-\d{4}-\d\d-\d\dT[\d-]+Z")
_TOTAL = re.compile(r"^Total: (\d+) passed, (\d+) failed", re.MULTILINE)


class SuiteError(Exception):
    """The suite itself did not run to its end; the message is the end of its output."""


class CheckKey(NamedTuple):
    """One result of the suite: the `occurrence`-th check of that id in a scenario, from 0."""

    scenario: str
    check: str
    occurrence: int


@dataclass(frozen=True, slots=True)
class SuiteRun:
    """What one run found: the status of each check, such as `SUCCESS`, `WARNING` or `INFO`."""

    version: str
    statuses: Mapping[CheckKey, str]

    @property
    def passed(self) -> int:
        """How many checks succeeded."""
        return sum(status == "SUCCESS" for status in self.statuses.values())

    @property
    def failed(self) -> int:
        """How many checks failed."""
        return sum(status == "FAILURE" for status in self.statuses.values())

    def not_passed(self) -> dict[CheckKey, str]:
        """Return the checks that ended in anything but a success or a remark."""
        fine = ("SUCCESS", "INFO")
        return {key: status for key, status in self.statuses.items() if status not in fine}


@dataclass(frozen=True, slots=True)
class Difference:
    """A check that ended one way directly and another way through a hop."""

    key: CheckKey
    direct: str
    through: str

    @property
    def is_remark(self) -> bool:
        """Whether no verdict changed: the suite noted something on one way only."""
        return {self.direct, self.through} == {MISSING, "INFO"}

    def __str__(self) -> str:
        place = f"{self.key.scenario} / {self.key.check} #{self.key.occurrence}"
        return f"{place}: {self.direct} -> {self.through}"


@dataclass(frozen=True, slots=True)
class Expected:
    """A difference that cannot be avoided: all occurrences of one check, and why.

    `becomes` lists the only statuses that are excused; `MISSING` stands for a check not made.
    """

    version: str
    scenario: str
    check: str
    becomes: frozenset[str]
    reason: str

    def excuses(self, version: str, difference: Difference) -> bool:
        """Tell whether this is the difference that was expected."""
        return (
            version == self.version
            and difference.key.scenario == self.scenario
            and difference.key.check == self.check
            and difference.through in self.becomes
        )


@dataclass(frozen=True, slots=True)
class Comparison:
    """Differences between two runs, parted by whether they were expected.

    `stale` holds expectations that came to nothing: the list must be shortened.
    """

    direct: SuiteRun
    through: SuiteRun
    unexpected: tuple[Difference, ...]
    excused: tuple[Difference, ...]
    stale: tuple[Expected, ...]

    @property
    def agrees(self) -> bool:
        """Whether the hop changed nothing but what the list says."""
        return not self.unexpected and not self.stale


async def run_suite(url: str, version: str, *, seconds: float = SUITE_SECONDS) -> SuiteRun:
    """Run every server scenario of one spec version against `url`.

    The URL must name loopback, or the suite fails its DNS rebinding checks. Raises `SuiteError`
    when the suite breaks off or its results disagree with its totals, `TimeoutError` after
    `seconds`.
    """
    modules = await anyio.to_thread.run_sync(node_modules)
    with tempfile.TemporaryDirectory(prefix="conformance-") as folder:
        command = [str(node()), str(modules / _PROGRAM), "server", "--suite", "all"]
        command += ["--url", url, "--spec-version", version, "--output-dir", folder]
        with anyio.fail_after(seconds):
            # A check that fails also ends the suite with status 1, so the status tells nothing.
            done = await anyio.run_process(command, check=False, env=environment())
        run = SuiteRun(version, read_results(Path(folder)))
        _verify(run, (done.stdout + done.stderr).decode("utf-8", "replace"))
        return run


def read_results(folder: Path) -> dict[CheckKey, str]:
    """Return the status of every check under the suite's output folder."""
    statuses: dict[CheckKey, str] = {}
    for path in sorted(folder.glob("*/checks.json")):
        named = _RESULT.fullmatch(path.parent.name)
        if named is None:
            raise SuiteError(f"unknown result folder: {path.parent.name}")
        seen: Counter[str] = Counter()
        for check in json.loads(path.read_text(encoding="utf-8")):
            key = CheckKey(named["scenario"], check["id"], seen[check["id"]])
            seen[check["id"]] += 1
            statuses[key] = check["status"]
    return statuses


def _verify(run: SuiteRun, output: str) -> None:
    told = _TOTAL.search(output)
    if told is None:
        raise SuiteError(f"the suite broke off: {output[-2000:]}")
    if (int(told[1]), int(told[2])) != (run.passed, run.failed):
        raise SuiteError(f"{told[0]!r}, but the results say {run.passed} and {run.failed}")


def compare(direct: SuiteRun, through: SuiteRun, expected: Iterable[Expected] = ()) -> Comparison:
    """Compare two runs of one version check by check, order and remarks included.

    A check that differs as expected takes along the remarks of its scenario, which only tell what
    led to it.
    """
    relevant = [item for item in expected if item.version == direct.version]
    differences = [
        Difference(key, direct.statuses.get(key, MISSING), through.statuses.get(key, MISSING))
        for key in sorted(direct.statuses.keys() | through.statuses.keys())
        if direct.statuses.get(key) != through.statuses.get(key)
    ]
    met = {
        item
        for item in relevant
        if any(item.excuses(direct.version, difference) for difference in differences)
    }
    scenarios = {item.scenario for item in met}
    excused = tuple(
        difference
        for difference in differences
        if any(item.excuses(direct.version, difference) for item in met)
        or (difference.is_remark and difference.key.scenario in scenarios)
    )
    return Comparison(
        direct=direct,
        through=through,
        unexpected=tuple(found for found in differences if found not in excused),
        excused=excused,
        stale=tuple(item for item in relevant if item not in met),
    )
