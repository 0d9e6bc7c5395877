"""A log that cannot be written stops nothing."""

import contextlib
import io
from pathlib import Path

from tunnel_relay.logs import Unfailing


def test_what_can_be_written_is() -> None:
    target = io.StringIO()
    stream = Unfailing(target)
    print("a line", file=stream, flush=True)  # what the logger does
    assert target.getvalue() == "a line\n"
    assert stream.lost == 0


def test_a_full_disk_and_a_closed_stream_lose_lines_and_raise_nothing() -> None:
    target = Path("/dev/full").open("w")  # noqa: SIM115 # closing it fails
    stream = Unfailing(target)
    print("a line", file=stream, flush=True)  # what the logger does
    assert stream.lost == 1
    with contextlib.suppress(OSError):  # it still tries to write the line
        target.close()
    closed = io.StringIO()
    closed.close()
    stream = Unfailing(closed)
    print("a line", file=stream, flush=True)  # what the logger does
    assert stream.lost > 0
