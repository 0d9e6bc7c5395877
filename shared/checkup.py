"""Runs the lines of a `doctor`: one check after the other, each bounded, a broken one named.

What a check needs has to have passed: so the first FAIL is the broken layer, and what stands on it
is skipped and says so. A check that is stuck or fails in a way nobody thought of is a FAIL too.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Generic, TypeVar

import anyio

from shared.escape import one_line

MAX_TEXT = 400
"""Characters of what a line says; part of it may come from a server."""
_S = TypeVar("_S")


class Outcome(StrEnum):
    """What became of a check."""

    PASS = "PASS"  # noqa: S105 # a verdict
    FAIL = "FAIL"
    SKIP = "SKIP"


@dataclass(frozen=True, slots=True)
class Fault:
    """Why a check failed: a stable code, the cause, the next command."""

    code: str
    cause: str
    next: str


@dataclass(frozen=True, slots=True)
class Line:
    """What is said of one check; `ms` is how long it took."""

    name: str
    outcome: Outcome
    ms: float
    note: str = ""
    fault: Fault | None = None
    next: str = ""

    def as_dict(self) -> dict[str, Any]:
        """Return it for JSON."""
        fault = self.fault
        return {
            "name": self.name,
            "outcome": self.outcome.value,
            "ms": round(self.ms, 1),
            "note": self.note,
            "code": None if fault is None else fault.code,
            "cause": None if fault is None else fault.cause,
            "next": (fault.next if fault is not None else self.next) or None,
        }

    def text(self) -> str:
        """Return it for people: one line, and what to do below it."""
        head = f"{self.outcome.value}  {self.name:<18} {self.ms:7.1f} ms"
        if self.fault is not None:
            fault = self.fault
            return f"{head}  {fault.code}: {fault.cause}\n      next: {fault.next}"
        more = f"\n      next: {self.next}" if self.next else ""
        return f"{head}  {self.note}".rstrip() + more


class SkippedError(Exception):
    """A check has nothing to look at; says why, and what somebody can do about it, if anything."""

    def __init__(self, why: str, next_command: str = "") -> None:
        super().__init__(why)
        self.why = why
        self.next = next_command


@dataclass(frozen=True, slots=True)
class Check(Generic[_S]):
    """One line: `look` returns what to note, or raises what is wrong or SkippedError."""

    name: str
    look: Callable[[_S], Awaitable[str]]
    needs: tuple[str, ...] = ()
    seconds: float = 5.0


@dataclass(slots=True)
class Checkup(Generic[_S]):
    """Goes through checks in their order; `explain` says which fault an exception is.

    `clock` is monotonic, in seconds. `broken` maps what did not pass to the line that is to blame.
    """

    explain: Callable[[Exception], Fault]
    clock: Callable[[], float]
    broken: dict[str, str] = field(default_factory=dict)

    async def run(self, checks: Sequence[Check[_S]], scene: _S) -> AsyncIterator[Line]:
        """Yield a line for each check as soon as it is known."""
        for check in checks:
            to_blame = next((self.broken[each] for each in check.needs if each in self.broken), "")
            if to_blame:
                self.broken[check.name] = to_blame
                yield Line(check.name, Outcome.SKIP, 0.0, f"needs: {to_blame}")
                continue
            line = await self._look(check, scene)
            if line.outcome is Outcome.FAIL:
                self.broken[check.name] = check.name
            yield line

    async def _look(self, check: Check[_S], scene: _S) -> Line:
        began = self.clock()

        def took() -> float:
            return (self.clock() - began) * 1000

        try:
            with anyio.fail_after(check.seconds):
                note = await check.look(scene)
        except SkippedError as skipped:
            why = one_line(skipped.why, MAX_TEXT)
            return Line(check.name, Outcome.SKIP, took(), why, next=skipped.next)
        except Exception as error:  # noqa: BLE001 - a check that breaks is what a doctor is for
            found = self.explain(error)
            shown = Fault(found.code, one_line(found.cause, MAX_TEXT), found.next)
            return Line(check.name, Outcome.FAIL, took(), fault=shown)
        return Line(check.name, Outcome.PASS, took(), one_line(note, MAX_TEXT))


def summary(lines: Sequence[Line]) -> dict[str, Any]:
    """Return all lines for JSON; `ok` is whether nothing failed, `broken` the first that did."""
    failed = [line.name for line in lines if line.outcome is Outcome.FAIL]
    return {
        "ok": not failed,
        "broken": failed[0] if failed else None,
        "lines": [line.as_dict() for line in lines],
    }
