"""Secrets in answers are counted; the log gets a line a minute and one alarm."""

from typing import Any

from structlog.testing import capture_logs

from shared.audit import events
from tunnel_client.credentials.hits import (
    ALARM_HITS,
    ALARM_WITHIN,
    LOCK_HITS,
    LOG_EVERY,
    Hits,
)


def test_a_flood_of_hits_is_a_line_a_minute_and_one_alarm() -> None:
    time = [0.0]
    hits = Hits("crm", lambda: time[0])
    with capture_logs() as logs:
        for _ in range(1000):
            hits.add(1)
        time[0] += LOG_EVERY
        hits.add(2)
    assert [line["log_level"] for line in logs] == ["warning", "error", "warning"]
    assert logs[1]["scrub_hits"] == ALARM_HITS
    assert logs[2]["scrub_hits"] == 1001
    assert hits.count == 1002
    assert hits.alarm


def test_every_hit_is_noted_for_the_record() -> None:
    heard: list[Any] = []
    with events.heard(lambda kind, facts: heard.append((kind, dict(facts)))), capture_logs():
        hits = Hits("crm", lambda: 0.0)
        for _ in range(3):
            hits.add(2)
    assert heard == [("credential.echo", {"upstream": "crm", "scrub_hits": 2})] * 3


def test_hits_now_and_then_are_no_alarm() -> None:
    time = [0.0]
    hits = Hits("crm", lambda: time[0])
    for _ in range(50):
        hits.add(1)
        time[0] += ALARM_WITHIN / 5
    assert not hits.alarm


def test_a_session_is_locked_out_until_the_window_ends() -> None:
    """Row C15."""
    time = [0.0]
    hits = Hits("crm", lambda: time[0])
    heard: list[Any] = []
    with events.heard(lambda kind, facts: heard.append((kind, dict(facts)))), capture_logs():
        for number in range(LOCK_HITS):
            assert not hits.locks_out("guesses")
            hits.add(1, "guesses")
            hits.add(1, f"another {number}")
    assert hits.locks_out("guesses")
    assert not hits.locks_out("another 1")
    assert heard.count(("credential.locked", {"upstream": "crm", "session": "guesses"})) == 1
    time[0] += ALARM_WITHIN
    assert not hits.locks_out("guesses")
