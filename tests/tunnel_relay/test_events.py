"""The feed keeps the newest of what the relay itself says, and not too much of it."""

import logging

import structlog

from tunnel_relay.events import MAX_FIELDS, MAX_TEXT, EventRing, Keep
from tunnel_relay.logs import NamedLogger


def test_the_ring_forgets_the_oldest() -> None:
    ring = EventRing(3)
    for number in range(5):
        ring.add("2026-01-01T00:00:00Z", "info", f"event {number}", {})
    assert ring.last == 5
    assert [event.number for event in ring.newest(10)] == [5, 4, 3]
    assert [event.number for event in ring.newest(1)] == [5]
    assert EventRing().newest(5) == []


def test_long_texts_and_many_fields_are_cut() -> None:
    ring = EventRing()
    fields = {f"k{number}": "v" * 1000 for number in range(50)}
    ring.add("", "info", "n" * 1000, fields)
    (event,) = ring.newest(1)
    assert len(event.fields) == MAX_FIELDS
    assert {len(value) for _, value in event.fields} == {MAX_TEXT}
    assert len(event.name) == MAX_TEXT


def test_reports_and_lists_read_as_text() -> None:
    ring = EventRing()
    ring.add("", "info", "cut", {"cut": {"streams": 3, "ms": 1.5}, "roles": ("a", "b"), "no": ()})
    assert ring.newest(1)[0].fields == (
        ("cut", "streams 3, ms 1.5"),
        ("roles", "a, b"),
        ("no", "-"),
    )


def test_only_our_own_lines_from_info_up_are_kept() -> None:
    ring = EventRing()
    keep = Keep(ring)

    def say(name: str, level: str) -> None:
        line = {"event": "x", "level": level, "timestamp": "t", "user": "ada", "exc_info": True}
        assert keep(NamedLogger(name), level, line) is line

    for name, level in (
        ("tunnel_relay.admin", "debug"),
        ("tunnel_relays", "info"),
        ("sqlalchemy", "error"),
        ("", "info"),
    ):
        say(name, level)
    assert ring.last == 0
    say("tunnel_relay", "info")
    say("tunnel_relay.admin", "error")
    assert ring.last == 2
    assert ring.newest(1)[0].fields == (("user", "ada"),)


def test_it_works_as_a_processor_of_structlog() -> None:
    ring = EventRing()
    log = structlog.wrap_logger(
        NamedLogger("tunnel_relay.x"),
        processors=[
            structlog.processors.add_log_level,
            Keep(ring),
            structlog.processors.LogfmtRenderer(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
    )
    log.info("hello", who="ada")
    assert [(event.name, event.level, event.fields) for event in ring.newest(1)] == [
        ("hello", "info", (("who", "ada"),))
    ]
