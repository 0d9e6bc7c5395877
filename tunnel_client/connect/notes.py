"""What a person may read on standard error; the agent's pipe is never used for it."""

import sys
from typing import TextIO

MAX_NOTE = 4000


class Notes:
    """Writes one note after another; a reader that is gone is no reason to stop."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream or sys.stderr
        self._last = ""

    def say(self, text: str) -> None:
        """Write a note, unless it only repeats the one before.

        Control characters of a server cannot move the cursor of a terminal.
        """
        if text == self._last:
            return
        self._last = text
        clean = "".join(each if each.isprintable() or each == "\n" else "?" for each in text)
        try:
            self._stream.write(f"tunnel-client: {clean[:MAX_NOTE]}\n")
            self._stream.flush()
        except (OSError, ValueError):
            pass
