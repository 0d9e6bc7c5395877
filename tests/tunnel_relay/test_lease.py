"""A relay serves from memory for as long as its lease says, by a clock that nobody sets."""

from tunnel_relay.lease import SILENT, Lease


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_a_lease_lapses_when_nothing_was_heard_for_its_length() -> None:
    clock = Clock()
    lease = Lease(30.0, clock)
    clock.now += 29.9
    assert (lease.held, lease.problem) == (True, None)
    clock.now += 0.1
    assert (lease.held, lease.problem, lease.left) == (False, SILENT, 0)


def test_what_was_heard_counts_from_when_it_was_asked() -> None:
    clock = Clock()
    lease = Lease(30.0, clock)
    asked = clock.now
    clock.now += 20
    assert lease.heard(asked) is False
    assert lease.left == 10
    lease.heard(asked - 5)
    assert lease.left == 10, "an older answer takes nothing away"


def test_a_failure_is_told_once_and_ends_nothing_by_itself() -> None:
    clock = Clock()
    lease = Lease(30.0, clock)
    assert lease.failed("full")
    assert not lease.failed("full")
    assert (lease.held, lease.problem) == (True, "full")
    clock.now += 31
    assert lease.facts() == {
        "problem": "full",
        "lapsed": True,
        "lease": 30.0,
        "left": 0,
        "silent": 31.0,
    }


def test_an_answer_brings_a_lapsed_lease_back() -> None:
    clock = Clock()
    lease = Lease(30.0, clock)
    lease.failed("locked")
    clock.now += 60
    assert lease.heard(clock.now)
    assert lease.held
    assert lease.problem is None
    assert lease.failed("again"), "a new failure is news again"
    assert lease.failures == 2
