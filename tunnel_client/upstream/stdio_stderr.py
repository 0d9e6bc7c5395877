"""A child's stderr in our log: one entry a line, capped in rate, without secrets."""

from collections.abc import Callable, Sequence

from tunnel_client.upstream.stdio_command import StdioLimits

_LINE_BYTES = 4096
_HIDDEN = "[hidden]"
_LEAST = 8
"""Characters of a secret's single line that are hidden; fewer would blot out plain words."""


class StderrLog:
    """Cuts what a child writes to stderr into lines and passes on a bounded share of them.

    `write(text, dropped)` gets each line as printable text; `dropped` is how many were left out
    before it. Nothing a child writes is ever an error of ours (MCP 2025-11-25, stdio transport).
    """

    def __init__(
        self, write: Callable[[str, int], None], secrets: Sequence[str], limits: StdioLimits
    ) -> None:
        self._write = write
        self._secrets = _with_lines(secrets)
        self._limits = limits
        self._partial = b""
        self._overlong = False
        self._window_ends = 0.0
        self._lines = 0
        self._bytes = 0
        self.dropped = 0

    def feed(self, chunk: bytes, now: float) -> None:
        """Take bytes as they were read; `now` in seconds of a clock that never goes back."""
        *whole, rest = (self._partial + chunk).split(b"\n")
        for line in whole:
            self._line(line, now)
        # What is cut off here is more of a line that was logged already.
        if len(rest) > 2 * _LINE_BYTES:
            self._line(rest, now)
            self._overlong = True
            rest = b""
        self._partial = rest

    def end(self, now: float) -> None:
        """Pass on what is left, the last count included."""
        if self._partial:
            self._line(self._partial, now)
        self._partial = b""
        if self.dropped:
            self._write("", self._take_dropped())

    def note(self, text: str, now: float) -> None:
        """Write a line of our own about this child under the same cap."""
        self._line(text.encode(), now)

    def _line(self, line: bytes, now: float) -> None:
        if self._overlong:
            self._overlong = False
            return
        if not line.strip():
            return
        if now >= self._window_ends:
            self._window_ends = now + self._limits.stderr_window
            self._lines = self._bytes = 0
        # Looked at before hiding, which takes its time when a secret has many lines.
        if self._lines >= self._limits.stderr_lines:
            self.dropped += 1
            return
        # Cut only after hiding: half a secret at the edge would no longer be found.
        text = self._hide(line[: 2 * _LINE_BYTES].decode(errors="replace"))[:_LINE_BYTES]
        if self._bytes + len(text) > self._limits.stderr_bytes:
            self.dropped += 1
            return
        self._lines += 1
        self._bytes += len(text)
        self._write(text, self._take_dropped())

    def _take_dropped(self) -> int:
        dropped, self.dropped = self.dropped, 0
        return dropped

    def _hide(self, text: str) -> str:
        for secret in self._secrets:
            text = text.replace(secret, _HIDDEN)
        # Escapes would let a child paint over the operator's terminal.
        return "".join(char if char.isprintable() else f"\\x{ord(char):02x}" for char in text)


def _with_lines(secrets: Sequence[str]) -> list[str]:
    """Add the lines of each secret, longest first: a child's lines are looked at one by one."""
    lines = (line.strip() for secret in secrets for line in secret.splitlines())
    return sorted({*secrets, *(line for line in lines if len(line) >= _LEAST)}, key=len)[::-1]
