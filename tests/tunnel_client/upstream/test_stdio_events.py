from tunnel_client.upstream.stdio_events import EventLog


def test_a_lane_is_resumed_after_the_event_named_and_without_others() -> None:
    log = EventLog()
    one, two = log.new_lane(), log.new_lane()
    prime = log.prime(one)
    assert prime == b"id: 1-0\nretry: 1000\ndata: \n\n"
    first = log.add(one, b"{1}")
    assert first == b"id: 1-1\nevent: message\ndata: {1}\n\n"
    log.add(two, b"{2}")
    third = log.add(one, b"{3}")
    assert log.after("1-0") == (one, [first, third])
    assert log.after("1-1") == (one, [third])
    assert log.after("1-3") == (one, [])
    assert log.after("0-0") == (0, [])


def test_ids_that_are_not_ours_are_known_as_such() -> None:
    log = EventLog()
    for text in ("", "1", "1-", "-1", "1-1", "a-b", "1-1\n", "9" * 30 + "-1", "\u0661-\u0661"):
        assert log.after(text) is None


def test_what_is_kept_is_bounded() -> None:
    log = EventLog()
    for _ in range(3000):
        log.add(0, b"x")
    found = log.after("0-0")
    assert found is not None
    assert len(found[1]) == 1000
    for _ in range(100):
        log.add(0, b"x" * 100_000)
    found = log.after("0-0")
    assert found is not None
    assert sum(map(len, found[1])) < 1_100_000
    log.add(0, b"x" * 2_000_000)
    after = log.after("0-0")
    assert after is not None
    assert len(after[1]) == len(found[1])
