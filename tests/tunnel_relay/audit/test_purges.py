"""What waits for a second person: bounded, and not for ever."""

from tunnel_relay.audit.purges import MAX_WAITING, WAIT_SECONDS, Purge, Purges


def wish(number: int, asked: float = 0.0) -> Purge:
    return Purge(f"{number:02}{'a' * 30}", 1.0, "ada", "old", asked)


def test_it_is_found_until_it_is_too_late() -> None:
    waiting = Purges()
    one = wish(1)
    assert waiting.add(one)
    assert waiting.find("01", WAIT_SECONDS - 1) == one
    assert waiting.find("", 1.0) is None
    assert waiting.find("01", WAIT_SECONDS) is None
    assert waiting.listed(1.0) == []


def test_one_of_two_takes_it() -> None:
    waiting = Purges()
    one = wish(1)
    assert waiting.add(one)
    assert (waiting.take(one), waiting.take(one)) == (True, False)


def test_what_came_to_nothing_waits_on_until_it_is_too_late() -> None:
    waiting = Purges()
    one, two = wish(1), wish(2, 5.0)
    assert waiting.add(one)
    assert waiting.add(two)
    assert waiting.take(one)
    waiting.put_back(one)
    assert waiting.listed(6.0) == [one, two]
    assert (waiting.take(one), waiting.take(one)) == (True, False)
    waiting.put_back(one)
    assert waiting.find("01", WAIT_SECONDS) is None


def test_there_are_never_many_and_no_name_means_two() -> None:
    waiting = Purges()
    assert all(waiting.add(wish(number)) for number in range(MAX_WAITING))
    assert not waiting.add(wish(99))
    assert waiting.find("0", 1.0) is None
    assert waiting.add(wish(99, WAIT_SECONDS))
    assert len(waiting.listed(WAIT_SECONDS)) == 1
