"""Synchronous loads: wrk for rates, one blocking socket for latency, sockets that only hold on."""

import contextlib
import json
import os
import socket
import ssl
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import httptools

from bench.base import HOST, Peer, Target
from bench.needs import WRK

# Nine digits, so that every call of a load has the same length and its own id.
FIRST_ID = 100_000_000
ECHO_TEXT = "hello hello hello"
HEADERS = {
    "Content-Type": "application/json",
    "Accept": "application/json, text/event-stream",
    "MCP-Protocol-Version": "2025-06-18",
}
LUA = Path(__file__).parent / "call.lua"


def call_body(tool: str, arguments: Mapping[str, object], call_id: int = FIRST_ID) -> bytes:
    """A JSON-RPC tools/call."""
    params = {"name": tool, "arguments": arguments}
    message = {"jsonrpc": "2.0", "id": call_id, "method": "tools/call", "params": params}
    return json.dumps(message, separators=(",", ":")).encode()


ECHO = call_body("echo", {"text": ECHO_TEXT})


def head(method: str, target: Target, length: int) -> bytes:
    """A request head, up to and with the empty line."""
    headers = {"Host": f"{HOST}:{target.port}", **HEADERS, **target.headers}
    if method == "POST":
        headers["Content-Length"] = str(length)
    lines = [
        f"{method} {target.path} HTTP/1.1",
        *(f"{key}: {value}" for key, value in headers.items()),
    ]
    return "\r\n".join([*lines, "", ""]).encode()


def post(target: Target, body: bytes) -> bytes:
    return head("POST", target, len(body)) + body


class Reader:
    """Reads responses off a socket one by one."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._parser = httptools.HttpResponseParser(self)
        self._whole = False
        self.headers: dict[bytes, bytes] = {}
        self.body: list[bytes] = []

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers[name.lower()] = value

    def on_body(self, data: bytes) -> None:
        self.body.append(data)

    def on_message_complete(self) -> None:
        self._whole = True

    def read(self) -> int:
        """Read one whole response; its status. ConnectionError when the peer ends first."""
        self._whole = False
        self.body.clear()
        while not self._whole:
            data = self._connection.recv(1 << 18)
            if not data:
                raise ConnectionError("the peer closed the connection")
            self._parser.feed_data(data)
        return self._parser.get_status_code()


def connect(target: Target, timeout: float = 30, receive_buffer: int = 0) -> socket.socket:
    """A connection to a peer, in TLS where it speaks that; OSError when there is none."""
    connection = socket.socket()
    try:
        if receive_buffer:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.settimeout(timeout)
        connection.connect((HOST, target.port))
        if target.tls is None:
            return connection
        return target.tls.wrap_socket(connection, server_hostname=HOST)
    except BaseException:
        connection.close()
        raise


def exchange(
    target: Target, body: bytes, timeout: float = 60
) -> tuple[int, Mapping[bytes, bytes], bytes]:
    """One call on a connection of its own: status, headers (lower case), body."""
    with connect(target, timeout) as connection:
        connection.sendall(post(target, body))
        reader = Reader(connection)
        status = reader.read()
        return status, reader.headers, b"".join(reader.body)


def open_mcp_session(peer: Peer) -> None:
    """Initialize each target as a legacy MCP client does and keep the session id it hands out.

    RuntimeError when a target refuses.
    """
    info = {"name": "bench", "version": "1"}
    params = {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": info}
    first = {"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": params}
    then = {"jsonrpc": "2.0", "method": "notifications/initialized"}
    for target in peer.targets.values():
        status, headers, body = exchange(target, json.dumps(first).encode())
        if status != 200:
            raise RuntimeError(f"initialize answered {status}: {body[:200]!r}")
        if session := headers.get(b"mcp-session-id"):
            target.headers["Mcp-Session-Id"] = session.decode()
            exchange(target, json.dumps(then).encode())


def latencies(target: Target, seconds: float, most: int = 200_000) -> list[int]:
    """Latencies in nanoseconds of calls one after another on one kept connection, uncorrected."""
    request = post(target, ECHO)
    taken: list[int] = []
    with connect(target) as connection:
        reader = Reader(connection)
        for _ in range(50):
            connection.sendall(request)
            reader.read()
        end = time.perf_counter() + seconds
        while len(taken) < most and time.perf_counter() < end:
            sent = time.perf_counter_ns()
            connection.sendall(request)
            status = reader.read()
            taken.append(time.perf_counter_ns() - sent)
            if status != 200:
                raise RuntimeError(f"a call answered {status}")
    return taken


class Wrk:
    """A wrk run, in the background until `figures` is asked for.

    `seconds` is rounded to whole ones, at least 1.
    """

    def __init__(
        self, target: Target, conns: int, seconds: float, body: bytes = ECHO, unique: bool = False
    ) -> None:
        self._seconds = max(1, round(seconds))
        # Headers hold the session's token, so they travel in the environment, not in argv.
        environment = {**os.environ, "BENCH_BODY": body.decode(), "BENCH_UNIQUE": str(int(unique))}
        for number, (name, value) in enumerate({**HEADERS, **target.headers}.items(), 1):
            environment[f"BENCH_HEADER_{number}"] = f"{name}: {value}"
        argv = [
            WRK.path(),
            "-t1",
            f"-c{conns}",
            f"-d{self._seconds}s",
            "--latency",
            "--timeout=30s",
        ]
        argv += ["-s", str(LUA), target.url]
        self._process = subprocess.Popen(
            argv, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )

    def figures(self) -> dict[str, float]:
        """requests, microseconds, bytes, p50 and p99 (us), socket_errors and refused.

        RuntimeError when wrk fails or does not end in time.
        """
        try:
            said, _ = self._process.communicate(timeout=self._seconds + 40)
        except subprocess.TimeoutExpired:
            raise RuntimeError("wrk did not end in time") from None
        finally:
            self.kill()
        for line in said.splitlines():
            if line.startswith("FIGURES "):
                return {key: float(value) for key, value in json.loads(line[8:]).items()}
        raise RuntimeError(f"wrk: {said[-300:]}")

    def kill(self) -> None:
        """End it now, if it still runs."""
        self._process.kill()
        self._process.wait()


@contextlib.contextmanager
def stalled(target: Target, count: int, body: bytes) -> Iterator[None]:
    """Readers that ask for a big answer and then read nothing of it."""
    with contextlib.ExitStack() as stack:
        for _ in range(count):
            # A small receive buffer, so that the rest waits in the peer and not in our kernel.
            connection = stack.enter_context(connect(target, 10, receive_buffer=8192))
            connection.sendall(post(target, body))
        yield


def open_idle(target: Target, count: int, stack: contextlib.ExitStack) -> list[socket.socket]:
    """Open GET streams, each until its head is there; RuntimeError on the first refusal."""
    request = head("GET", target, 0)
    opened: list[socket.socket] = []
    for _ in range(count):
        connection = stack.enter_context(connect(target, 10))
        connection.sendall(request)
        received = b""
        while b"\r\n\r\n" not in received:
            data = connection.recv(4096)
            received += data
            if not data:
                break
        if b" 200 " not in received.split(b"\r\n", 1)[0]:
            raise RuntimeError(f"stream {len(opened) + 1} answered {received[:120]!r}")
        connection.setblocking(False)
        opened.append(connection)
    return opened


def closed(connections: Sequence[socket.socket]) -> int:
    """How many of some idle streams the far end has closed; drains what is waiting on them."""
    count = 0
    for connection in connections:
        try:
            while connection.recv(1 << 16):
                pass
            count += 1
        except (BlockingIOError, ssl.SSLWantReadError):
            continue
        except OSError:
            count += 1
    return count
