"""What waits is bounded, and gone when its time is over."""

from tunnel_relay.identity.pending import Held, Kept


def test_a_value_is_had_by_its_secret_until_its_time() -> None:
    held: Held[str] = Held()
    held.put("secret", "value", until=10)
    assert held.get("secret", 9.9) == "value"
    assert held.get("other", 0) is None
    assert held.get("\ud800", 0) is None
    assert held.get("secret", 10) is None
    assert len(held) == 0


def test_at_most_so_many_are_held_and_the_oldest_go() -> None:
    held: Held[int] = Held(3)
    for number in range(5):
        held.put(str(number), number, until=10)
    assert [held.get(str(number), 0) for number in range(5)] == [None, None, 2, 3, 4]


def test_secrets_are_not_kept() -> None:
    held: Held[str] = Held()
    held.put("secret", "value", until=10)
    assert "secret" not in repr(vars(held))


def test_what_is_kept_is_had_until_its_time() -> None:
    kept: Kept[str] = Kept(10.0)
    assert kept.put("secret", "value", "a", now=0) == 0
    assert kept.get("secret", 9.9) == "value"
    assert kept.get("other", 0) is None
    assert kept.get("\ud800", 0) is None
    assert kept.get("secret", 10) is None
    kept.put("again", "value", "a", now=20)
    kept.drop("again")
    kept.drop("again")
    kept.drop("\ud800")
    assert kept.get("again", 20) is None
    assert "again" not in repr(vars(kept))
    assert len(kept) == 0


def test_one_source_has_so_many_and_takes_no_place_of_another() -> None:
    kept: Kept[int] = Kept(10.0, most=4, of_one=2)
    assert kept.put("theirs", 0, "victim", now=0) == 0
    waits = [kept.put(str(number), number, "flood", now=number) for number in range(4)]
    assert waits == [0, 0, 8, 7]
    assert [kept.get(str(number), 4) for number in range(4)] == [0, 1, None, None]
    assert kept.get("theirs", 4) == 0
    assert kept.put("more", 5, "victim", now=4) == 0


def test_where_no_place_is_left_the_newcomer_waits_whoever_it_is() -> None:
    kept: Kept[int] = Kept(10.0, most=2, of_one=2)
    assert kept.put("a", 1, "one", now=0) == 0
    assert kept.put("b", 2, "two", now=3) == 0
    assert kept.put("c", 3, "three", now=4) == 6
    assert (kept.get("a", 4), kept.get("b", 4), kept.get("c", 4)) == (1, 2, None)
    assert kept.put("c", 3, "three", now=10) == 0
    assert kept.put("d", 4, "four", now=10) == 3


def test_a_place_is_free_again_once_it_is_left() -> None:
    kept: Kept[int] = Kept(10.0, most=2, of_one=1)
    kept.put("a", 1, "one", now=0)
    assert kept.put("b", 2, "one", now=0) == 10
    kept.drop("a")
    assert kept.put("b", 2, "one", now=0) == 0
    assert kept.get("b", 10) is None  # its time is over, and its place is free
    assert kept.put("c", 3, "one", now=10) == 0


def test_a_value_that_changes_keeps_its_place_and_begins_its_time_anew() -> None:
    kept: Kept[int] = Kept(10.0, most=2, of_one=1)
    kept.put("a", 1, "one", now=0)
    kept.put("b", 2, "two", now=1)
    assert kept.put("a", 3, "one", now=5) == 0
    assert kept.get("a", 14) == 3
    assert kept.put("c", 4, "three", now=11) == 0  # b was the next to go, not a
    assert len(kept) == 2
