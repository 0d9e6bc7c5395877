"""Lines of a doctor: the broken one is named, what stands on it is skipped, nothing is stuck."""

import itertools
from collections.abc import Awaitable, Callable

import anyio

from shared.checkup import Check, Checkup, Fault, Line, Outcome, SkippedError, summary


def explain(error: Exception) -> Fault:
    return Fault("MT0000", f"{type(error).__name__}: {error}", "look")


def fails(error: Exception) -> Callable[[list[str]], Awaitable[str]]:
    async def look(_seen: list[str]) -> str:
        raise error

    return look


async def fine(seen: list[str]) -> str:
    seen.append("fine")
    return "all well"


async def stuck(_seen: list[str]) -> str:
    await anyio.Event().wait()
    return ""


async def ran(*checks: Check[list[str]]) -> list[Line]:
    ticks = itertools.count()
    checkup: Checkup[list[str]] = Checkup(explain, lambda: float(next(ticks)))
    return [line async for line in checkup.run(checks, [])]


async def test_what_stands_on_a_broken_line_is_skipped_and_names_it() -> None:
    lines = await ran(
        Check("road", fails(OSError("closed"))),
        Check("bridge", fine, needs=("road",)),
        Check("house", fine, needs=("bridge",)),
        Check("garden", fine),
    )
    assert [line.outcome.value for line in lines] == ["FAIL", "SKIP", "SKIP", "PASS"]
    assert [line.note for line in lines] == ["", "needs: road", "needs: road", "all well"]
    assert lines[0].fault == Fault("MT0000", "OSError: closed", "look")
    assert summary(lines)["broken"] == "road"
    assert summary(lines)["ok"] is False


async def test_a_check_that_is_stuck_fails_in_time_and_the_next_one_runs() -> None:
    lines = await ran(Check("stuck", stuck, seconds=0.01), Check("after", fine))
    assert [line.outcome.value for line in lines] == ["FAIL", "PASS"]


async def test_nothing_to_look_at_is_no_failure_and_says_what_can_be_done() -> None:
    lines = await ran(
        Check("proxy", fails(SkippedError("there is none", "buy one"))),
        Check("tls", fine, needs=("proxy",)),
    )
    assert [line.outcome.value for line in lines] == ["SKIP", "PASS"]
    assert lines[0].text().endswith("there is none\n      next: buy one")
    assert lines[0].as_dict()["next"] == "buy one"
    assert summary(lines)["ok"] is True


async def test_what_a_server_wrote_cannot_move_the_cursor_or_fill_the_screen() -> None:
    lines = await ran(Check("odd", fails(OSError("\x1b[2J\n" + "x" * 5000))))
    shown = lines[0].text()
    assert "\x1b" not in shown
    assert len(shown) < 600


def test_a_line_shows_its_code_cause_and_next_command() -> None:
    line = Line("dns", Outcome.FAIL, 1.25, fault=Fault("MT2201", "no address", "try it"))
    assert (
        line.text() == "FAIL  dns                    1.2 ms  MT2201: no address\n      next: try it"
    )
