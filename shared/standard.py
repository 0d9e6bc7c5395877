"""Standard input, output and error, as a program may be given them: closed, or a full disk."""

import io
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

EXIT_FAILED, EXIT_IO = 1, 74
"""The second is EX_IOERR of sysexits.h."""


class OutputError(Exception):
    """Standard output does not take what is written to it.

    No OSError: those are caught where files are read, and this is of none of them.
    """


@contextmanager
def standard_files() -> Iterator[None]:
    """Run a program with all three open; what it cannot write ends it with one line."""
    _open_closed()
    _watch_output()
    try:
        try:
            yield
        finally:
            sys.stdout.flush()
    except OutputError as error:
        _drop_output()
        with suppress(OSError):
            os.write(2, f"Error: standard output cannot be written: {error}\n".encode())
        sys.exit(EXIT_IO)
    except BrokenPipeError:  # who read the answer has enough
        _drop_output()
        sys.exit(EXIT_FAILED)


def _open_closed() -> None:
    """Open on /dev/null what is closed: else the next file or socket would take its number.

    Then an answer is written into that, and libuv ends the process where it closes one.
    """
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest number that is free
            os.set_inheritable(number, True)
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(number, "w" if number else "r", closefd=False))


class _Output(io.FileIO):
    def write(self, data: Any, /) -> Any:
        try:
            return super().write(data)
        except BrokenPipeError:
            raise
        except OSError as error:
            raise OutputError(error.strerror) from None


def _watch_output() -> None:
    before = sys.stdout
    if not isinstance(before, io.TextIOWrapper):
        return  # not the program's own: a test's
    sys.stdout = io.TextIOWrapper(
        io.BufferedWriter(_Output(1, "w", closefd=False)),
        encoding=before.encoding,
        errors=before.errors,
        line_buffering=before.line_buffering,
        write_through=before.write_through,
    )


def _drop_output() -> None:
    """What was not written is tried once more at the end, and then said by Python itself."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.close(nowhere)
