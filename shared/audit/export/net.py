"""A connection to a sink: TLS that checks the name, and a deadline for all that is done on it.

Blocking, for a thread of the export's own. `abort` may come from any thread.
"""

import contextlib
import fcntl
import socket
import ssl
import struct
import termios
import time
from collections.abc import Callable
from pathlib import Path

from shared.audit.export.settings import Target

DEADLINE = 10.0
"""Seconds for a sink to take a batch, connecting included."""
PIECE = 64 * 1024
_LOOK = 0.005
_CUT = (ConnectionResetError, BrokenPipeError, ssl.SSLEOFError)
"""The last is how TLS says the other two while it writes."""


class SinkError(Exception):
    """A sink did not take what it was sent; says why in words of ours."""

    def __init__(self, why: str, *, too_large: bool = False, cut: bool = False) -> None:
        super().__init__(why)
        self.too_large = too_large
        """Might fewer records have done?"""
        self.cut = cut
        """Did the other side hang up on what was sent?"""


class TlsSocket(ssl.SSLSocket):
    """One that is closed once it was reset.

    What was reset before TLS began is else lost by `wrap_socket`, open (CPython 3.11).
    """

    def recv(self, buflen: int = 1024, flags: int = 0) -> bytes:
        """Return what came."""
        try:
            return super().recv(buflen, flags)
        except ConnectionError:
            self.close()
            raise


class Connection:
    """One connection; every operation ends at the deadline that was set last."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._ends = 0.0
        self._raw: socket.socket | None = None
        self._socket: socket.socket | None = None

    def until(self, seconds: float) -> None:
        """Set the deadline of all that follows."""
        self._ends = self._clock() + seconds

    @property
    def is_open(self) -> bool:
        """Is there one?"""
        return self._socket is not None

    def connect(self, target: Target, ca: Path | None) -> None:
        """Dial, and shake hands; raises SinkError."""
        with _named():
            self._raw = socket.create_connection((target.host, target.port), self._left())
            self._raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._socket = self._raw
            if target.tls:
                context = ssl.create_default_context(cafile=ca)
                context.minimum_version = ssl.TLSVersion.TLSv1_2
                context.sslsocket_class = TlsSocket
                self._raw.settimeout(self._left())
                # Kept before the handshake, so that `abort` ends that too.
                self._socket = wrapped = context.wrap_socket(
                    self._raw, server_hostname=target.host, do_handshake_on_connect=False
                )
                wrapped.do_handshake()

    def send(self, data: bytes) -> None:
        """Send all of it; raises SinkError."""
        with _named():
            for at in range(0, len(data), PIECE):
                self._open().settimeout(self._left())
                self._open().sendall(data[at : at + PIECE])

    def receive(self) -> bytes:
        """Return what came, empty at the end; raises SinkError."""
        with _named():
            self._open().settimeout(self._left())
            return self._open().recv(PIECE)

    def is_quiet(self) -> bool:
        """Tell whether the other side is there, as far as anybody knows, and says nothing."""
        if self._socket is None:
            return False
        try:
            self._socket.settimeout(0)
            return bool(self._socket.recv(PIECE))
        except (BlockingIOError, ssl.SSLWantReadError):
            return True
        except OSError:
            return False

    def confirm(self) -> None:
        """Wait until the other machine has every byte that was sent; raises SinkError."""
        with _named():
            while self.is_quiet():
                if not _unconfirmed(self._open().fileno()):
                    return
                self._left()
                time.sleep(_LOOK)
        raise SinkError("the connection was closed")

    def close(self) -> None:
        """Hang up."""
        for each in (self._socket, self._raw):
            if each is not None:
                with contextlib.suppress(OSError):
                    each.close()
        self._socket = self._raw = None

    def abort(self) -> None:
        """Have whoever waits on it stop; from another thread."""
        raw = self._raw
        if raw is not None:
            with contextlib.suppress(OSError):
                # TLS took the descriptor over: it is found under the number it has now.
                (self._socket or raw).shutdown(socket.SHUT_RDWR)

    def _open(self) -> socket.socket:
        if self._socket is None:
            raise SinkError("the connection was closed")
        return self._socket

    def _left(self) -> float:
        left = self._ends - self._clock()
        if left <= 0:
            raise TimeoutError
        return left


def _unconfirmed(descriptor: int) -> int:
    """Return how many bytes the other machine has not acknowledged (Linux, tcp(7) SIOCOUTQ)."""
    found: int = struct.unpack("i", fcntl.ioctl(descriptor, termios.TIOCOUTQ, bytes(4)))[0]
    return found


def _why_cut(error: OSError) -> str:
    return "the connection was closed" if isinstance(error, ssl.SSLError) else _said(error)


def _said(error: OSError) -> str:
    return error.strerror or type(error).__name__


class _named:  # noqa: N801 - used as a word
    """Turns what goes wrong with a connection into a SinkError that repeats nothing remote."""

    def __enter__(self) -> None: ...

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, ssl.SSLCertVerificationError):
            raise SinkError(f"its certificate is refused: {error.verify_message}") from None
        if isinstance(error, TimeoutError):
            raise SinkError("it does not answer in time") from None
        if isinstance(error, _CUT):
            raise SinkError(_why_cut(error), cut=True) from None
        if isinstance(error, ssl.SSLError):
            raise SinkError(f"TLS failed: {error.reason or type(error).__name__}") from None
        if isinstance(error, socket.gaierror):
            raise SinkError("its name is not known") from None
        if isinstance(error, OSError):
            raise SinkError(_said(error)) from None
