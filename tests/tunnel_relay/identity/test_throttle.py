"""Guessing is slow, for one account and from one address."""

from tunnel_relay.identity.throttle import PER_ACCOUNT, PER_ADDRESS, LoginThrottle


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
