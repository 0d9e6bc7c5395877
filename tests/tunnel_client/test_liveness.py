"""The watchdog is fed by a link, or by the way to one, and by nothing else."""

from typing import Any

from tunnel_client.liveness import PAUSE, Progress, line


def status(**facts: Any) -> dict[str, Any]:
    base = {"connected": False, "relay": "wss://r", "links_made": 0}
    return {**base, "retry_at": None, "last_error": None, **facts}


def test_a_link_that_is_heard_is_progress() -> None:
    progress = Progress(30.0)
    assert progress.made(status(connected=True, heard_ago=5.0), 0.0)
    assert not progress.made(status(connected=True, heard_ago=500.0), 1.0)


def test_a_backoff_that_goes_on_is_progress() -> None:
    progress = Progress(30.0)
    assert progress.made(status(), 0.0)
    assert progress.made(status(retry_at=1.0), PAUSE + 1)
    assert progress.made(status(), 2 * PAUSE)


def test_a_way_on_which_nothing_moves_is_none() -> None:
    progress = Progress(30.0)
    assert progress.made(status(retry_at=1.0), 0.0)
    assert not progress.made(status(retry_at=1.0), PAUSE)
    assert progress.made(status(), PAUSE + 1)


def test_the_line_says_what_is_wrong() -> None:
    assert line(status(connected=True, streams=3)) == "link to wss://r, 3 streams"
    assert line(status(last_error="refused")) == "no link to wss://r: refused"
