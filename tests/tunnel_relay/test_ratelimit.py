"""Who hammers has to wait, and costs no memory."""

import pytest

from tunnel_relay.ratelimit import RateLimit, address_key


def test_a_burst_is_allowed_then_one_at_a_time() -> None:
    limit = RateLimit(per_second=1, burst=3)
    assert [limit.take("a", 0) for _ in range(4)] == [0, 0, 0, 1]
    assert limit.take("a", 0.5) == 0.5
    assert limit.take("a", 1) == 0
    assert limit.take("a", 1) == 1
    assert limit.take("b", 1) == 0


def test_a_rest_refills_no_more_than_the_burst() -> None:
    limit = RateLimit(per_second=1, burst=2)
    assert [limit.take("a", now) for now in (0, 0, 1000, 1000, 1000)] == [0, 0, 0, 0, 1]


def test_a_clock_that_goes_back_gives_nothing() -> None:
    limit = RateLimit(per_second=1, burst=1)
    assert limit.take("a", 100) == 0
    assert limit.take("a", 50) == 1
    assert limit.take("a", 100.5) == 0.5


def test_memory_is_bounded_and_the_quietest_is_forgotten() -> None:
    limit = RateLimit(per_second=0.001, burst=1, keys=100)
    limit.take("noisy", 0)
    for n in range(1000):
        limit.take(f"key {n}", 0)
        assert limit.take("noisy", 0) > 0
    assert len(limit._buckets) == 100


@pytest.mark.parametrize(
    ("address", "key"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::9", "2001:db8:1:2::/64"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("", ""),
        ("x" * 100, "x" * 64),
    ],
)
def test_addresses_of_one_user_count_together(address: str, key: str) -> None:
    assert address_key(address) == key
