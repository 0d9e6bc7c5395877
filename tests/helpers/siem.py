"""Sinks for a log: a syslog server and an HTTP server, real ones, that can misbehave."""

import socket
import ssl
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from shared.audit.export.net import TlsSocket

WAIT = 20.0


def free_port() -> int:
    """Return a port that nobody has."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        found: int = probe.getsockname()[1]
        return found


def _secured(context: ssl.SSLContext, accepted: socket.socket) -> socket.socket:
    context.sslsocket_class = TlsSocket  # whoever dialled may be gone
    return context.wrap_socket(accepted, server_side=True)


class SyslogServer:
    """Keeps the messages it gets, framed by their lengths (RFC 5425)."""

    def __init__(self) -> None:
        self.port = free_port()
        self.messages: list[bytes] = []
        self.refused = threading.Event()
        """Did a handshake fail?"""
        self.reading = threading.Event()
        self.reading.set()

    @contextmanager
    def up(self, context: ssl.SSLContext | None) -> Iterator[None]:
        """Listen in the block; whoever is connected then is cut off at its end."""
        listener = socket.create_server(("127.0.0.1", self.port))
        thread = threading.Thread(target=self._accept, args=(listener, context))
        thread.start()
        try:
            yield
        finally:
            with suppress(OSError):
                listener.shutdown(socket.SHUT_RDWR)
            thread.join(WAIT)
            listener.close()

    def _accept(self, listener: socket.socket, context: ssl.SSLContext | None) -> None:
        peers: list[socket.socket] = []
        readers: list[threading.Thread] = []
        with suppress(OSError):
            while True:
                accepted, _ = listener.accept()
                accepted.settimeout(WAIT)
                given = (accepted, context, peers, readers[-1] if readers else None)
                readers.append(threading.Thread(target=self._serve, args=given))
                readers[-1].start()
        for peer in peers:
            with suppress(OSError):
                peer.shutdown(socket.SHUT_RDWR)
        for reader in readers:
            reader.join(WAIT)

    def _serve(
        self,
        accepted: socket.socket,
        context: ssl.SSLContext | None,
        peers: list[socket.socket],
        before: threading.Thread | None,
    ) -> None:
        try:
            peer = accepted if context is None else _secured(context, accepted)
        except OSError:
            self.refused.set()
            accepted.close()
            return
        peers.append(peer)
        self.reading.wait(WAIT)
        if before is not None:
            before.join(WAIT)  # read as they came: what is kept is in order
        with peer, suppress(OSError, ValueError):
            self._read(peer)

    def _read(self, peer: socket.socket) -> None:
        kept = b""
        while data := peer.recv(65536):
            kept += data
            while b" " in kept:
                size, _, rest = kept.partition(b" ")
                if len(rest) < int(size):
                    break
                self.messages.append(rest[: int(size)])
                kept = rest[int(size) :]


class HttpServer:
    """Keeps what is posted while it says 200; `mode` is what it does."""

    def __init__(self) -> None:
        self.port = free_port()
        self.mode = "ok"
        self.bodies: list[bytes] = []
        self.paths: list[str] = []
        """Where each was posted."""
        self.heads: list[dict[str, str]] = []
        self.asked: set[str] = set()
        """Modes in which it was asked something."""

    @property
    def lines(self) -> list[bytes]:
        """Return all lines that it took."""
        return [line for body in list(self.bodies) for line in body.splitlines()]

    def take(self, path: str, body: bytes, head: dict[str, str]) -> None:
        """Keep what was posted."""
        self.paths.append(path)
        self.bodies.append(body)
        self.heads.append(head)

    @contextmanager
    def up(self, context: ssl.SSLContext | None = None) -> Iterator[None]:
        """Listen in the block."""
        kept = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                mode = kept.mode
                if mode == "slow":
                    # Silent until the other side gives up.
                    kept.asked.add(mode)
                    self.rfile.read(1)
                    return
                if mode == "lost":
                    # Taken, and nobody hears of it.
                    kept.take(self.path, body, dict(self.headers))
                    kept.asked.add(mode)
                    return
                status = {"ok": 200, "broken": 500, "large": 413, "moved": 302}[mode]
                if mode == "large" and body.count(b"\n") <= 2:
                    status = 200
                if status == 200:
                    kept.take(self.path, body, dict(self.headers))
                kept.asked.add(mode)
                self.send_response(status)
                if status == 302:
                    self.send_header("Location", f"http://127.0.0.1:{kept.port}/elsewhere")
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: Any) -> None: ...

        class Quiet(ThreadingHTTPServer):
            daemon_threads = True
            allow_reuse_address = True

            def handle_error(self, *_: Any) -> None:
                """A handshake that fails is what some tests want."""

            def finish_request(self, request: Any, client_address: Any) -> None:
                if context is not None:
                    request = _secured(context, request)
                super().finish_request(request, client_address)

        with Quiet(("127.0.0.1", self.port), Handler) as server:
            thread = threading.Thread(target=server.serve_forever, args=(0.02,))
            thread.start()
            try:
                yield
            finally:
                server.shutdown()
                thread.join(WAIT)


class NarrowServer:
    """Takes what is posted up to so many bytes, and hangs up on more without reading it."""

    def __init__(self, limit: int, *, answers: bytes = b"") -> None:
        self.port = free_port()
        self.bodies: list[bytes] = []
        self.cut = 0
        """How often it hung up."""
        self._limit = limit
        self._answers = answers

    @property
    def lines(self) -> list[bytes]:
        """Return all lines that it took."""
        return [line for body in list(self.bodies) for line in body.splitlines()]

    @contextmanager
    def up(self, context: ssl.SSLContext | None = None) -> Iterator[None]:
        """Listen in the block, for one at a time."""
        listener = socket.socket()
        # Small: what is sent does not all fit into buffers, so that the cut comes meanwhile.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", self.port))
        listener.listen()
        thread = threading.Thread(target=self._accept, args=(listener, context))
        thread.start()
        try:
            yield
        finally:
            with suppress(OSError):
                listener.shutdown(socket.SHUT_RDWR)
            thread.join(WAIT)
            listener.close()

    def _accept(self, listener: socket.socket, context: ssl.SSLContext | None) -> None:
        with suppress(OSError):
            while True:
                peer, _ = listener.accept()
                peer.settimeout(WAIT)
                with suppress(OSError):
                    if context is not None:
                        peer = _secured(context, peer)
                    self._serve(peer)
                peer.close()

    def _serve(self, peer: socket.socket) -> None:
        kept = b""
        while b"\r\n\r\n" not in kept:
            if not (data := peer.recv(1024)):
                return
            kept += data
        head, _, body = kept.partition(b"\r\n\r\n")
        size = int(head.lower().split(b"content-length:")[1].split(b"\r\n")[0])
        if size > self._limit:
            self.cut += 1
            if self._answers:
                peer.sendall(self._answers)
            else:
                # No farewell: the other side loses even what was on its way to it.
                peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            return
        while len(body) < size and (data := peer.recv(65536)):
            body += data
        self.bodies.append(body)
        peer.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
