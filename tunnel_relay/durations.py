"""Spans of time as people write them: 90s, 15m, 8h, 7d."""

import re

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_TEXT = re.compile(r"([1-9][0-9]{0,8})([smhd])")


def parse_duration(text: str) -> float:
    """Return the seconds in a text such as `8h`; raises ValueError."""
    found = _TEXT.fullmatch(text.strip())
    if found is None:
        raise ValueError("write a duration like 90s, 15m, 8h or 7d")
    return float(int(found[1]) * _UNITS[found[2]])


def format_duration(seconds: float) -> str:
    """Write seconds with the largest unit that says it in one or two digits: `59m`, `2d`."""
    whole = max(0, int(seconds))
    for unit, size in reversed(_UNITS.items()):
        if whole >= 2 * size or (whole >= size and whole % size == 0):
            return f"{whole // size}{unit}"
    return f"{whole}s"
