"""A client whose upstream is down comes after others for a while, and is remembered no longer."""

from tunnel_relay.clients.failing import AVOIDED_SECONDS, Failing

ONE, OTHER = ("office", "0" * 32, "git"), ("office", "1" * 32, "git")


def test_who_failed_is_avoided_for_a_while_and_then_tried_again() -> None:
    now = [100.0]
    failing = Failing(lambda: now[0])
    assert not failing
    failing.failed(ONE)
    assert failing.avoided(ONE)
    assert not failing.avoided(OTHER)
    assert not failing.avoided((*ONE[:2], "another upstream"))
    now[0] += AVOIDED_SECONDS - 0.1
    failing.failed(ONE)
    now[0] += AVOIDED_SECONDS - 0.1
    assert failing.avoided(ONE)
    now[0] += 0.1
    assert not failing.avoided(ONE)
    assert not failing


def test_nobody_is_remembered_for_longer() -> None:
    now = [100.0]
    failing = Failing(lambda: now[0])
    for number in range(3):
        failing.failed(("office", str(number), "git"))
    now[0] += AVOIDED_SECONDS
    failing.failed(ONE)
    assert list(failing._until) == [ONE]
