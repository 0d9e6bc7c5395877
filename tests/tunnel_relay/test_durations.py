"""Durations as people write them."""

import pytest

from tunnel_relay.durations import format_duration, parse_duration


@pytest.mark.parametrize(
    ("text", "seconds"), [("90s", 90), ("15m", 900), ("8h", 28800), (" 7d ", 604800)]
)
def test_a_duration_is_read(text: str, seconds: float) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["", "8", "0s", "-1h", "1.5h", "8 h", "8H", "1h30m", "٣h", "1e9s"])
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="90s"):
        parse_duration(text)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0s"), (-3, "0s"), (90, "90s"), (119, "119s"), (180, "3m"), (28800, "8h"), (86400, "1d")],
)
def test_a_duration_is_written_short(seconds: float, text: str) -> None:
    assert format_duration(seconds) == text
