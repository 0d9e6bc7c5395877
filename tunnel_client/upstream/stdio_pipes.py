"""Non-blocking ends of a child's stdin and stdout, without a task or a stream object each."""

import asyncio
import os
from collections.abc import Callable

_READ_BYTES = 256 * 1024


class PipeWriter:
    """Writes in order and never waits; what the pipe does not take is kept."""

    def __init__(self, loop: asyncio.AbstractEventLoop, fd: int) -> None:
        os.set_blocking(fd, False)
        self._loop = loop
        self._fd: int | None = fd
        self._kept = bytearray()

    @property
    def waiting(self) -> int:
        """Bytes kept; the caller bounds them."""
        return len(self._kept)

    def write(self, data: bytes) -> None:
        """Send bytes now or as soon as the pipe takes them; ignored once closed."""
        if self._fd is None:
            return
        if self._kept:
            self._kept += data
            return
        sent = self._push(self._fd, data)
        if self._fd is not None and sent < len(data):
            self._kept += memoryview(data)[sent:]
            self._loop.add_writer(self._fd, self._flush)

    def close(self) -> None:
        """Stop writing and close the pipe, so that the child reads its end."""
        if self._fd is None:
            return
        if self._kept:
            self._loop.remove_writer(self._fd)
        self._kept.clear()
        # The descriptor's number stays taken until its owner closes the file object.
        null = os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC)
        os.dup2(null, self._fd, inheritable=False)
        os.close(null)
        self._fd = None

    def _flush(self) -> None:
        if self._fd is None:
            return
        sent = self._push(self._fd, self._kept)
        del self._kept[:sent]
        if self._fd is not None and not self._kept:
            self._loop.remove_writer(self._fd)

    def _push(self, fd: int, data: bytes | bytearray) -> int:
        try:
            return os.write(fd, data)
        except BlockingIOError:
            return 0
        except OSError:
            # The child closed its stdin or died; its exit says so to whoever waits.
            self.close()
            return 0


class LineReader:
    """Reads lines of a bounded length; `on_end(None)` at the end, `on_end(problem)` otherwise."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        fd: int,
        line_bytes: int,
        on_line: Callable[[bytes], None],
        on_end: Callable[[str | None], None],
    ) -> None:
        os.set_blocking(fd, False)
        self._loop = loop
        self._fd: int | None = fd
        self._line_bytes = line_bytes
        self._on_line = on_line
        self._on_end = on_end
        self._partial = bytearray()
        self.paused = False
        loop.add_reader(fd, self._read)

    @property
    def ended(self) -> bool:
        """Whether no more lines will come."""
        return self._fd is None

    def pause(self) -> None:
        """Leave what comes next in the pipe."""
        if self._fd is not None and not self.paused:
            self.paused = True
            self._loop.remove_reader(self._fd)

    def resume(self) -> None:
        """Read again."""
        if self._fd is not None and self.paused:
            self.paused = False
            self._loop.add_reader(self._fd, self._read)

    def close(self) -> None:
        """Stop reading."""
        self._finish(None)

    def _finish(self, problem: str | None) -> None:
        if self._fd is None:
            return
        self._loop.remove_reader(self._fd)
        self._fd = None
        self._partial.clear()
        self._on_end(problem)

    def _read(self) -> None:
        if self._fd is None:
            return
        try:
            chunk = os.read(self._fd, _READ_BYTES)
        except BlockingIOError:
            return
        if not chunk:
            self._finish(None)
            return
        self._cut(chunk)

    def _cut(self, chunk: bytes) -> None:
        *lines, rest = chunk.split(b"\n")
        for line in lines:
            if self._partial:
                self._partial += line
                line = bytes(self._partial)
                self._partial.clear()
            if len(line) > self._line_bytes:
                self._finish(f"a message was longer than {self._line_bytes} bytes")
            if self._fd is None:
                return
            if not line.isspace() and line:
                self._on_line(line)
        self._partial += rest
        if len(self._partial) > self._line_bytes:
            self._finish(f"a message was longer than {self._line_bytes} bytes")
