"""Lines of one event of an event stream (HTML standard, section 9.2.5), read and written anew."""

import re
from collections.abc import Sequence
from typing import NamedTuple

_LINE_END = re.compile(rb"\r\n|\r|\n")
_BOM = b"\xef\xbb\xbf"


class Line(NamedTuple):
    """One line of an event; `text` and its `end` are the bytes of it."""

    text: bytes
    end: bytes
    is_data: bool


def lines_of(event: bytes, first: bool) -> list[Line]:
    """Read an event into lines (HTML standard, section 9.2.5)."""
    lines, start = [], 0
    for end in [*_LINE_END.finditer(event), None]:
        stop, after = (len(event),) * 2 if end is None else end.span()
        if stop > start or end is not None:
            text = event[start:stop]
            name = text.removeprefix(_BOM) if first and not start else text
            is_data = name.partition(b":")[0] == b"data"
            lines.append(Line(text, event[stop:after], is_data))
        start = after
    return lines


def data_of(lines: Sequence[Line]) -> bytes | None:
    """Return the data of an event, None when it has none."""
    values = [line.text.partition(b":")[2].removeprefix(b" ") for line in lines if line.is_data]
    return b"\n".join(values) if values else None


def rewritten(lines: Sequence[Line], data: bytes) -> bytes:
    """Return the event with other data, in the place of its first line of data.

    Without data nobody is told of it, but its `id` still counts when the stream is resumed.
    """
    if not data:
        kept = [line for line in lines if line.text.partition(b":")[0] in (b"id", b"retry", b"")]
        ids = any(line.text.startswith((b"id", b"retry")) for line in kept)
        return b"".join(line.text + line.end for line in kept) if ids else b""
    parts, written = [], False
    for line in lines:
        if not line.is_data:
            parts += [line.text, line.end]
        elif not written:
            written = True
            parts += [b"data: ", data, line.end]
    return b"".join(parts)
