"""What holds itself is let go of before it fills megabytes."""

import gc
import weakref
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
def test_what_was_there_before_is_not_looked_at_again() -> None:
    assert gc.get_freeze_count() > 10_000
    assert len(gc.get_objects()) < 10_000
