"""Messages of syslog (RFC 5424), and how they follow each other on a stream (RFC 5425)."""

import re

from shared.record.export.joined import Event, Origin
from shared.record.export.words import iso, severity

LOG_AUDIT = 13
_LEVEL = {1: 6, 2: 4, 3: 4, 4: 2}
"""Informational, warning, critical."""
_NOT_PRINTABLE = re.compile(r"[^\x21-\x7e]")


def message(event: Event, origin: Origin, content: bytes) -> bytes:
    """Return a message with `content`, which must be one line of UTF-8."""
    record = event.record
    head = (
        f"<{LOG_AUDIT * 8 + _LEVEL[severity(event)]}>1",
        iso(record.time),
        _name(origin.host, 255),
        _name(origin.program, 48),
        "-",
        _name(record.kind, 32),
        "-",
    )
    return " ".join(head).encode("ascii") + b" " + content


def framed(message: bytes) -> bytes:
    """Return a message with its length before it: nothing inside can look like its end."""
    return b"%d " % len(message) + message


def _name(text: str, most: int) -> str:
    return _NOT_PRINTABLE.sub("_", text)[:most] or "-"
