"""Who stays out after a revocation, and until when."""

from dataclasses import replace

from tunnel_relay.bars import BarTable
from tunnel_relay.store.base import Bar

BAR = Bar("1" * 32, "https://idp.example.com#u", "desk", "office", "git", 1000.0, "lost")
SUBJECT = BAR.user, BAR.agent, BAR.tunnel, BAR.upstream


def test_only_a_later_login_passes() -> None:
    bars = BarTable([BAR])
    assert bars.bars(SUBJECT, None, 0)
    assert bars.bars(SUBJECT, 1000.0, 0)
    assert not bars.bars(SUBJECT, 1001.0, 0)
    # As far as the issuer's clock may be off, its word on when is worth nothing.
    assert bars.bars(SUBJECT, 1060.0, 60)
    assert not bars.bars(SUBJECT, 1061.0, 60)


def test_another_user_agent_or_server_is_not_meant() -> None:
    bars = BarTable([BAR])
    for place, other in enumerate(("u", "chat", "home", "mail")):
        changed = list(SUBJECT)
        changed[place] = other
        assert not bars.bars((changed[0], changed[1], changed[2], changed[3]), None, 0)
    assert not BarTable().bars(SUBJECT, None, 0)


def test_a_newer_one_takes_the_place_and_is_not_lifted_by_the_older() -> None:
    newer = replace(BAR, id="2" * 32, since=2000.0)
    bars = BarTable([BAR, newer])
    assert bars.all() == [newer]
    bars.drop(BAR)
    assert bars.all() == [newer]
    bars.drop_tunnel("home")
    assert bars.all() == [newer]
    bars.drop_tunnel("office")
    assert bars.all() == []
