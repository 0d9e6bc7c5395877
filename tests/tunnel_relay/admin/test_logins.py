"""Logins end by themselves, and are bounded in number."""

from tunnel_relay.admin.logins import ABSOLUTE, FRESH, IDLE, MOST, MOST_OF_ONE, Logins
from tunnel_relay.store.base import User

ADA = User("ada", "Ada", 0.0, password="hash")


def test_a_login_ends_unused_and_in_any_case() -> None:
    """U17."""
    logins = Logins()
    cookie, login = logins.open(ADA, 0.0)
    assert logins.find(cookie, IDLE - 1) is login
    assert logins.find(cookie, 2 * IDLE - 2) is login
    assert logins.find(cookie, 3 * IDLE - 2) is None
    assert logins.find(cookie, 0.0) is None

    cookie, _ = logins.open(ADA, 0.0)
    began = 3 * IDLE - 2
    at = began
    while at < began + ABSOLUTE - IDLE / 2:
        assert logins.find(cookie, at)
        at += IDLE / 2
    assert logins.find(cookie, began + ABSOLUTE) is None


def test_a_page_that_refreshes_itself_keeps_no_login_alive() -> None:
    logins = Logins()
    cookie, _ = logins.open(ADA, 0.0)
    for at in range(0, int(IDLE), 60):
        assert logins.find(cookie, at, use=False)
    assert logins.find(cookie, IDLE, use=False) is None


def test_setting_the_clock_back_revives_nothing() -> None:
    logins = Logins()
    cookie, _ = logins.open(ADA, 0.0)
    other, _ = logins.open(ADA, 0.0)
    assert logins.find(cookie, IDLE) is None
    assert logins.find(other, 1.0) is None


def test_logging_out_ends_it_here() -> None:
    """U17."""
    logins = Logins()
    cookie, _ = logins.open(ADA, 0.0)
    logins.close(cookie)
    logins.close("nothing")
    assert logins.find(cookie, 1.0) is None


def test_the_number_of_logins_is_bounded() -> None:
    logins = Logins()
    cookies = [logins.open(ADA, 0.0)[0] for _ in range(MOST_OF_ONE + 3)]
    assert [logins.find(each, 1.0) is not None for each in cookies[:5]] == [False] * 3 + [True] * 2
    others = [logins.open(User(f"u{number}", "u", 0.0), 2.0)[0] for number in range(MOST)]
    assert len(logins) == MOST
    assert logins.find(cookies[-1], 3.0) is None
    assert logins.find(others[-1], 3.0)


def test_a_login_is_as_fresh_as_its_proof() -> None:
    """U17."""
    logins = Logins()
    _, now = logins.open(ADA, 9000.0)
    _, before = logins.open(ADA, 9000.0, proved=9000.0 - FRESH / 2)
    _, ahead = logins.open(ADA, 9000.0, proved=9000.0 + FRESH)
    _, never = logins.open(ADA, 9000.0, proved=0.0)
    half, full = 9000.0 + FRESH / 2, 9000.0 + FRESH
    every = (now, before, ahead, never)
    assert [each.is_fresh(9000.0) for each in every] == [True, True, True, False]
    assert [each.is_fresh(half) for each in every] == [True, False, True, False]
    assert not any(each.is_fresh(full) for each in every)


def test_every_login_has_tokens_of_its_own() -> None:
    logins = Logins()
    (first, one), (second, two) = logins.open(ADA, 0.0), logins.open(ADA, 0.0)
    assert first != second
    assert one.is_from_our_page(one.csrf)
    assert not one.is_from_our_page(two.csrf)
    assert not one.is_from_our_page("")
    assert not one.is_from_our_page("\xe9")
