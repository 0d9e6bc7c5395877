"""Where a log goes: a file, an HTTP endpoint, a syslog server.

What `send` returned from is there; what it raised from may be, and is sent again.
"""

import contextlib
import os
import stat
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

import httptools
from pydantic import SecretStr

from shared.audit.export.net import DEADLINE, Connection, SinkError
from shared.audit.export.settings import ExportSettings, Target
from shared.configfile import SecretError
from shared.record.export.formats import otlp_body
from shared.record.export.joined import Origin
from shared.record.export.syslog import framed

MAX_ANSWER = 64 * 1024
_CHUNK = 64 * 1024
GRACE = 0.2
"""Seconds for the answer of who could not be sent everything: mostly it is there already."""
Token = Callable[[], SecretStr]
"""Reads the token; raises SecretError."""


class Sink(Protocol):
    """Takes lines; blocking."""

    def send(self, lines: Sequence[bytes]) -> None:
        """Have the sink take all of them; raises SinkError."""

    def abort(self) -> None:
        """Have `send` end soon; from another thread."""

    def close(self) -> None:
        """Let go of it."""


class FileSink:
    """Appends to a file, which others may move away at any time."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def send(self, lines: Sequence[bytes]) -> None:
        """Append, and wait for the disk; what a full one took of it is cut off again."""
        flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW
        try:
            descriptor = os.open(self._path, flags | os.O_NONBLOCK, 0o600)
        except OSError as error:
            raise SinkError(f"it cannot be opened: {error.strerror}") from None
        try:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise SinkError("it is not a regular file")
            _end_torn_line(descriptor)
            before = os.lseek(descriptor, 0, os.SEEK_END)
            try:
                _write_all(descriptor, b"".join(line + b"\n" for line in lines))
                os.fsync(descriptor)
            except OSError:
                with contextlib.suppress(OSError):
                    os.ftruncate(descriptor, before)
                raise
        except OSError as error:
            raise SinkError(f"it cannot be written: {error.strerror}") from None
        finally:
            os.close(descriptor)

    def abort(self) -> None:
        """Nothing waits for long."""

    def close(self) -> None:
        """Nothing is held."""


def _end_torn_line(descriptor: int) -> None:
    """Cut off what a killed process left half written: all of it is sent again."""
    size = end = os.lseek(descriptor, 0, os.SEEK_END)
    while end:
        start = max(0, end - _CHUNK)
        found = os.pread(descriptor, end - start, start).rfind(b"\n")
        if found >= 0:
            end = start + found + 1
            break
        end = start
    if end != size:
        os.ftruncate(descriptor, end)


def _write_all(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


class SyslogSink:
    """RFC 5425: a stream of messages with their lengths; plain TCP to this machine only."""

    def __init__(self, target: Target, ca: Path | None) -> None:
        self._target = target
        self._ca = ca
        self._connection = Connection()

    def send(self, lines: Sequence[bytes]) -> None:
        """Send; there until the server's machine has it: syslog has no other answer."""
        connection = self._connection
        connection.until(DEADLINE)
        try:
            if not connection.is_quiet():
                connection.close()
                connection.connect(self._target, self._ca)
            connection.send(b"".join(map(framed, lines)))
            connection.confirm()
        except BaseException:
            connection.close()
            raise

    def abort(self) -> None:
        """Have `send` end soon."""
        self._connection.abort()

    def close(self) -> None:
        """Hang up."""
        self._connection.close()


class HttpSink:
    """Posts lines, spans or metrics; there when the answer is 2xx. A redirect is a refusal."""

    def __init__(self, export: ExportSettings, token: Token | None, origin: Origin) -> None:
        self._target = export.target
        self._ca = export.ca
        self._token = token
        self._origin = origin
        self._spelling = export.spelling
        self._otlp = export.spelling.startswith("otlp")
        self._connection = Connection()

    def send(self, lines: Sequence[bytes]) -> None:
        """Post all of them on a connection of their own."""
        if self._otlp:
            body = otlp_body(self._spelling, lines, self._origin)
        else:
            body = b"".join(line + b"\n" for line in lines)
        connection = self._connection
        connection.until(DEADLINE)
        try:
            connection.connect(self._target, self._ca)
            status = _answered(connection, self._head(len(body)) + body)
        finally:
            connection.close()
        if not _is_yes(status):
            raise SinkError(f"it answers {status}", too_large=status == 413)

    def _head(self, size: int) -> bytes:
        kind = "application/json" if self._otlp else "application/x-ndjson"
        lines = [
            f"POST {self._target.path} HTTP/1.1",
            f"Host: {self._target.authority}",
            f"Content-Type: {kind}",
            f"Content-Length: {size}",
            f"Mcp-Tunnel-Log: {self._origin.log}",
            "Connection: close",
        ]
        if self._token is not None:
            lines.append(f"Authorization: Bearer {self._secret(self._token)}")
        return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1", "replace")

    def _secret(self, token: Token) -> str:
        try:
            found = token().get_secret_value()
        except SecretError as error:
            raise SinkError(f"no token: {error}") from None
        if not found.isascii() or not found.isprintable():
            raise SinkError("the token cannot stand in a header")
        return found

    def abort(self) -> None:
        """Have `send` end soon."""
        self._connection.abort()

    def close(self) -> None:
        """Hang up."""
        self._connection.close()


class _Answer:
    """Notes when the head of the answer itself is there; 1xx may come before it."""

    status = 0
    parser: httptools.HttpResponseParser

    def on_headers_complete(self) -> None:
        """Note it."""
        status = self.parser.get_status_code()
        if status >= 200 and not self.status:
            self.status = status


def _answered(connection: Connection, request: bytes) -> int:
    """Return the status of the answer to a request, also of one that came before all was sent.

    Whoever is sent too much may say so and hang up, and the reset then throws away what it said.
    """
    try:
        try:
            connection.send(request)
        except SinkError:
            connection.until(GRACE)
            with contextlib.suppress(SinkError):
                status = _status(connection)
                if not _is_yes(status):  # a yes to what was not all sent is none
                    return status
            raise
        return _status(connection)
    except SinkError as error:
        raise SinkError(str(error), too_large=error.cut) from None


def _is_yes(status: int) -> bool:
    return 200 <= status < 300


def _status(connection: Connection) -> int:
    """Return the status of the answer; its body is not read."""
    answer = _Answer()
    answer.parser = httptools.HttpResponseParser(answer)
    taken = 0
    while not answer.status:
        data = connection.receive()
        taken += len(data)
        if not data or taken > MAX_ANSWER:
            raise SinkError("it gives no answer")
        try:
            answer.parser.feed_data(data)
        except httptools.HttpParserError:
            if not answer.status:
                raise SinkError("its answer is not HTTP") from None
    return answer.status


def make_sink(export: ExportSettings, token: Token | None, origin: Origin) -> Sink:
    """Return the sink that the settings name."""
    target = export.target
    if target.scheme == "file":
        return FileSink(Path(target.path))
    if target.scheme.startswith("syslog"):
        return SyslogSink(target, export.ca)
    return HttpSink(export, token, origin)
