"""Guessing is slow, for one account and from one address."""

from tunnel_relay.identity.throttle import PER_ACCOUNT, PER_ADDRESS, PER_BOTH, LoginThrottle


def test_an_account_is_tried_a_few_times_from_wherever() -> None:
    throttle = LoginThrottle()
    waits = [throttle.take("Ada", f"192.0.2.{n}", 0.0) for n in range(PER_ACCOUNT[1] + 1)]
    assert waits[:-1] == [0] * PER_ACCOUNT[1]
    assert waits[-1] > 0
    assert throttle.take("ada", "192.0.2.200", 0.0) > 0
    assert throttle.take("bob", "192.0.2.201", 0.0) == 0


def test_an_address_tries_so_many_accounts() -> None:
    throttle = LoginThrottle()
    waits = [throttle.take(f"user{n}", "2001:db8::1", 0.0) for n in range(PER_ADDRESS[1])]
    assert not any(waits)
    assert throttle.take("another", "2001:db8::2", 0.0) > 0
    assert throttle.take("another", "2001:db8::2", 1000.0) == 0


def test_u10_nobody_locks_another_out_from_one_address() -> None:
    throttle = LoginThrottle()
    for second in range(3600):
        throttle.take("ada", "192.0.2.66", float(second))
    assert throttle.take("ada", "192.0.2.1", 3600.0) == 0


def test_u10_one_address_guesses_at_one_account_slowly() -> None:
    throttle = LoginThrottle()
    tried = [throttle.take("ada", "192.0.2.66", float(second)) == 0 for second in range(3600)]
    assert sum(tried) <= PER_BOTH[1] + 3600 * PER_BOTH[0]


def test_u10_an_address_that_is_turned_away_costs_no_account_anything() -> None:
    throttle = LoginThrottle()
    for number in range(PER_ADDRESS[1]):
        throttle.take(f"user{number}", "192.0.2.66", 0.0)
    for _ in range(100):
        assert throttle.take("ada", "192.0.2.66", 0.0) > 0
    for number in range(PER_ACCOUNT[1]):
        assert throttle.take("ada", f"198.51.100.{number}", 0.0) == 0


def test_whoever_knows_the_password_may_log_in_often() -> None:
    throttle = LoginThrottle()
    for number in range(PER_ADDRESS[1]):
        assert throttle.take("ada", "192.0.2.1", float(number)) == 0
        throttle.succeeded("Ada", "192.0.2.1")


def test_u10_an_account_is_not_forgotten_for_others_that_were_tried() -> None:
    throttle = LoginThrottle()
    for number in range(PER_ACCOUNT[1]):
        assert throttle.take("ada", f"192.0.2.{number}", 0.0) == 0
    # From addresses of a network that an attacker may well have, names that nobody has.
    for number in range(20_000):
        throttle.take(f"nobody{number}", f"2001:db8:0:{number // 30:x}::1", 0.0)
    assert throttle.take("ada", "192.0.2.200", 0.0) > 0
