"""What the private side believes of what a relay says of sessions (T31, R16)."""

from dataclasses import replace
from typing import Any

import pytest
from structlog.testing import capture_logs

from shared import grant
from shared.errors import AuthError, CloseCode, PeerError
from shared.grant import Grant
from shared.keys import PrivateKey
from tests.shared.wire.golden import GRANT, RELAY_KEY
from tunnel_client import grants as module
from tunnel_client.grants import Grants, RefusedGrantError, Seldom, WallClock

NOW = GRANT.issued


class Clock:
    """The machine's clock, as it is set."""

    def __init__(self, time: float) -> None:
        self.time = time

    def __call__(self) -> float:
        return self.time


class Link:
    """The grants of one link at NOW, and what its relay signs."""

    def __init__(self, at: float = NOW, **of: Any) -> None:
        self.clock = Clock(at)
        named: dict[str, Any] = {
            "tunnel": GRANT.tunnel,
            "instance": GRANT.instance,
            "epoch": GRANT.epoch,
        } | of
        self.table = Grants(RELAY_KEY.public, clock=WallClock(self.clock), **named)

    def take(self, **changed: Any) -> Grant:
        return self.table.take(signed(**changed))

    def find(self, session: str = GRANT.session) -> Grant | None:
        return self.table.find(session)


def signed(key: PrivateKey = RELAY_KEY, **changed: Any) -> bytes:
    return grant.encode(replace(GRANT, **changed), key)


def session(at: int) -> str:
    return f"{at:032x}"


def test_a_session_is_known_from_its_grant_on() -> None:
    link = Link()
    assert link.find() is None
    assert link.take() == link.find() == GRANT
    assert len(link.table) == 1


# Who signed what for whom: T31 -------------------------------------------------------------------


def test_a_forged_grant_is_refused_and_ends_the_link_t31() -> None:
    """T31: forged."""
    link = Link()
    with pytest.raises(AuthError) as caught:
        link.table.take(signed(PrivateKey.generate()))
    assert caught.value.close_code is CloseCode.POLICY
    assert link.find() is None


@pytest.mark.parametrize("payload", [b"", bytes(64), bytes(64) + b"{}", signed()[:-1]])
def test_what_is_no_grant_ends_the_link_t31(payload: bytes) -> None:
    """T31: forged."""
    with pytest.raises(PeerError) as caught:
        Link().table.take(payload)
    assert not isinstance(caught.value, RefusedGrantError)


@pytest.mark.parametrize("of", [{"tunnel": "lab"}, {"instance": "1" * 32}, {"epoch": 8}])
def test_a_grant_for_another_link_is_refused_t31(of: dict[str, Any]) -> None:
    """T31: replayed from another tunnel, another client, or an earlier link of this one."""
    link = Link(**of)
    with pytest.raises(RefusedGrantError):
        link.take()
    assert link.find() is None


def test_an_expired_grant_is_refused_t31() -> None:
    """T31: expired, by our own clock."""
    link = Link()
    link.clock.time = GRANT.expires + module.MAX_SKEW
    with pytest.raises(RefusedGrantError):
        link.take()
    assert link.find() is None


def test_a_grant_that_was_sent_before_is_refused_t31() -> None:
    """T31: replayed on its own link: after a later one, and after the session was revoked."""
    link = Link()
    link.take(groups=("admins",))
    link.take(groups=(), issued=NOW + 1)
    with pytest.raises(RefusedGrantError):
        link.take(groups=("admins",))
    link.table.end(GRANT.session)
    for issued in (NOW, NOW + 1):
        with pytest.raises(RefusedGrantError):
            link.take(issued=issued)
    assert link.find() is None


def test_a_session_is_not_moved_to_another_upstream_t31() -> None:
    """T31: re-targeted."""
    link = Link()
    link.take()
    with pytest.raises(RefusedGrantError):
        link.take(upstream="git", issued=NOW + 1)
    assert link.find() == GRANT


# Changes and ends --------------------------------------------------------------------------------


def test_a_later_grant_replaces_the_one_before_s30() -> None:
    """S30: a user who left a group is without it from the next grant on."""
    link = Link()
    link.take()
    changed = link.take(groups=(), issued=NOW + 1)
    assert link.find() == changed
    assert changed.groups == ()
    assert len(link.table) == 1


def test_a_session_that_lives_again_is_granted_anew() -> None:
    link = Link()
    link.take()
    link.table.end(GRANT.session)
    link.table.end(GRANT.session)
    assert link.find() is None
    assert link.take(issued=NOW + 1) == link.find()


def test_a_grant_ends_by_our_own_clock() -> None:
    link = Link()
    link.take(session=session(1), expires=NOW + 10)
    link.take(session=session(2), expires=NOW + 20)
    assert link.table.over() == []
    link.clock.time = NOW + 10
    assert link.find(session(1)) is None
    assert link.find(session(2)) is not None
    assert link.table.over() == [session(1)]
    assert link.table.over() == []
    link.clock.time = NOW + 30
    assert link.table.over() == [session(2)]
    assert len(link.table) == 0
    assert link.table.over() == []


def test_a_clock_that_is_set_back_revives_nothing_r16() -> None:
    """R16."""
    link = Link()
    link.take(session=session(1), expires=NOW + 10)
    link.take(session=session(2), expires=NOW + 10_000)
    link.clock.time = NOW + 11
    assert link.find(session(1)) is None
    link.clock.time = NOW - 7200
    assert link.find(session(1)) is None
    assert link.find(session(2)) is not None


@pytest.mark.parametrize(
    ("ahead", "lives", "over"),
    [
        # Our clock minus the relay's; seconds by our clock for which a grant of 10 s lives.
        (0.0, 9.9, 10.0),
        (30.0, 9.9, 10.0),
        (-30.0, 9.9, 10.0),
        (-7200.0, 7200.0 - 60 + 9.9, 7200.0 - 60 + 10),
    ],
)
def test_a_difference_of_the_clocks_counts_up_to_a_minute_r16(
    ahead: float, lives: float, over: float
) -> None:
    """R16: expiry by wall time within a skew of 60 s."""
    link = Link(at=NOW + ahead)
    start = link.clock.time
    link.take(expires=NOW + 10)
    link.clock.time = start + lives - 0.5
    assert link.find() is not None
    link.clock.time = start + over
    assert link.find() is None


def test_clocks_that_differ_by_more_are_told_of_once_r16() -> None:
    """R16."""
    link = Link()
    link.clock.time = NOW + 500
    with capture_logs() as logs:
        link.take(session=session(1))
        link.take(session=session(2))
    assert [(line["event"], line["seconds"]) for line in logs] == [("clocks_differ", 500)]


def test_the_least_difference_counts_because_delay_is_no_difference() -> None:
    link = Link()
    link.clock.time = NOW + 40
    link.take(session=session(1), expires=NOW + 50)
    link.take(session=session(2), issued=NOW + 40, expires=NOW + 50)
    assert link.find(session(2)) is not None
    link.clock.time = NOW + 50
    assert link.find(session(2)) is None
    assert link.find(session(1)) is not None


# Bounds ------------------------------------------------------------------------------------------


def test_the_oldest_grant_gives_way_when_there_are_too_many(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "MAX_HELD", 3)
    link = Link()
    for at in range(8):
        link.take(session=session(at), issued=NOW + at)
    assert len(link.table) == 3
    assert link.find(session(4)) is None
    assert link.find(session(5)) is not None
    assert len(link.table._issued) <= 6


def test_grants_of_one_link_are_bounded_in_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_HELD_BYTES", 3 * len(signed(session=session(1))))
    link = Link()
    for at in range(8):
        link.take(session=session(at))
    assert len(link.table) == 3
    link.table.end(session(7))
    assert link.table._weight == 2 * len(signed(session=session(1)))


def test_a_relay_that_goes_on_and_on_fills_no_log() -> None:
    now = [0.0]
    seldom = Seldom(lambda: now[0])
    with capture_logs() as logs:
        for _ in range(100):
            seldom.log("refused", reason="x")
        now[0] = module.QUIET_SECONDS
        seldom.log("refused", reason="x")
    assert [line["left_out"] for line in logs] == [0, 99]


# What another link was told first -----------------------------------------------------------------


def test_a_session_that_ended_elsewhere_is_kept_out_until_the_order_came_here() -> None:
    link = Link()
    link.take()
    link.table.bar(GRANT.session, 5.0)
    assert link.find() is None
    with pytest.raises(RefusedGrantError):
        link.take(issued=NOW + 1)
    assert link.table.admit(GRANT.session)
    assert not link.table.admit(GRANT.session)
    assert link.take(issued=NOW + 2) == link.find()


def test_it_is_taken_in_again_when_nothing_older_can_come() -> None:
    link = Link()
    link.table.bar(GRANT.session, 5.0)
    link.table.admit_before(5.0)
    with pytest.raises(RefusedGrantError):
        link.take()
    link.table.admit_before(5.1)
    assert link.take(issued=NOW + 2) == link.find()


def test_the_sessions_that_are_kept_out_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_HELD", 2)
    link = Link()
    for at in range(3):
        link.table.bar(session(at), float(at))
    assert [link.table.admit(session(at)) for at in range(3)] == [False, True, True]
