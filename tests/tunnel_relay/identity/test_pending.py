"""What waits is bounded, and gone when its time is over."""

from tunnel_relay.identity.pending import Held


def test_a_value_is_had_by_its_secret_until_its_time() -> None:
    held: Held[str] = Held()
    held.put("secret", "value", until=10)
    assert held.get("secret", 9.9) == "value"
    assert held.get("other", 0) is None
    assert held.get("\ud800", 0) is None
    assert held.get("secret", 10) is None
    assert len(held) == 0
    held.put("again", "value", until=10)
    held.drop("again")
    assert held.get("again", 0) is None


def test_at_most_so_many_are_held_and_the_oldest_go() -> None:
    held: Held[int] = Held(3)
    for number in range(5):
        held.put(str(number), number, until=10)
    assert [held.get(str(number), 0) for number in range(5)] == [None, None, 2, 3, 4]


def test_secrets_are_not_kept() -> None:
    held: Held[str] = Held()
    held.put("secret", "value", until=10)
    assert "secret" not in repr(vars(held))
