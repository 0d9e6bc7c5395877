"""Time that does not pass as it should is told, once and by its name."""

import anyio
import pytest
from structlog.testing import capture_logs

from shared.clocks import Clocks, oddities, read, watch

BEFORE = Clocks(1000.0, 50.0, 80.0)


def after(wall: float = 1.0, steady: float = 1.0, boot: float = 1.0) -> Clocks:
    return Clocks(BEFORE.wall + wall, BEFORE.steady + steady, BEFORE.boot + boot)


@pytest.mark.parametrize(
    ("now", "told"),
    [
        (after(), []),
        (after(wall=1.9), []),
        (after(steady=4.0, boot=4.0, wall=4.0), []),
        (after(wall=301.0), [("the clock was set forward", 300.0)]),
        (after(wall=-299.0), [("the clock was set back", 300.0)]),
        (after(wall=3601.0, boot=3601.0), [("the machine slept", 3600.0)]),
        (after(wall=31.0, steady=31.0, boot=31.0), [("this program stood still", 30.0)]),
        (
            after(wall=20.0, boot=3601.0),
            [("the machine slept", 3600.0), ("the clock was set back", 3581.0)],
        ),
    ],
)
def test_what_happened_to_time(now: Clocks, told: list[tuple[str, float]]) -> None:
    assert oddities(BEFORE, now) == told


def test_the_machines_own_clocks_do_not_run_backwards() -> None:
    first = read()
    assert first.boot >= first.steady > 0
    assert read().steady >= first.steady


async def test_a_line_is_written_for_each_jump_and_for_no_other_look() -> None:
    looks = iter([BEFORE, after(), after(wall=300.0), after(wall=301.0, steady=2.0, boot=2.0)])
    done = anyio.Event()

    def look() -> Clocks:
        found = next(looks, None)
        if found is None:
            done.set()
        return found or after(wall=302.0, steady=3.0, boot=3.0)

    with capture_logs() as lines:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(watch, look, 0.001)
            with anyio.fail_after(10):
                await done.wait()
            tasks.cancel_scope.cancel()
    assert [each["event"] for each in lines] == ["the clock was set forward"]
    assert lines[0]["seconds"] == pytest.approx(299.0)
