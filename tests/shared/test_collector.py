"""What holds itself is let go of before it fills megabytes."""

import gc
import weakref
from collections import deque
from collections.abc import Iterator

import pytest

from shared.collector import quiet_collector


class Held:
    """Refers to itself, as a cancelled task and its traceback do."""

    def __init__(self) -> None:
        self.me = self


@pytest.fixture
def collecting() -> Iterator[None]:
    usual = gc.get_threshold()
    quiet_collector()
    yield
    gc.unfreeze()
    gc.set_threshold(*usual)


@pytest.mark.usefixtures("collecting")
def test_cycles_do_not_pile_up() -> None:
    alive: weakref.WeakSet[Held] = weakref.WeakSet()
    most = 0
    for _ in range(50_000):
        alive.add(Held())
        most = max(most, len(alive))
    assert 0 < most < 15_000


@pytest.mark.usefixtures("collecting")
@pytest.mark.parametrize("links", [2, 20, 100, 300])
def test_what_was_alive_for_a_while_does_not_pile_up_either(links: int) -> None:
    """As of a relay with so many links, of which one after another is cut."""
    made: weakref.WeakSet[Held] = weakref.WeakSet()
    now: deque[list[Held]] = deque(maxlen=links)
    most = 0
    for _ in range(12_000):
        link = [Held() for _ in range(10)]
        link[0].me = link  # type: ignore[assignment]
        now.append(link)
        made.add(link[0])
        most = max(most, len(made) - len(now))
    assert most < 5_000


@pytest.mark.usefixtures("collecting")
def test_what_was_there_before_is_not_looked_at_again() -> None:
    assert gc.get_freeze_count() > 10_000
    assert len(gc.get_objects()) < 10_000
