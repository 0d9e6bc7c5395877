"""Lets `tunnel-client status` ask the running daemon: one JSON line each way on a Unix socket.

The socket is 0600 in a folder of 0700, so only the daemon's own user (and root) can ask.
"""

import asyncio
import contextlib
import json
import socket
import stat
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Self, cast

from tunnel_client.errors import NotRunningError, StateWriteError

SOCKET_FILE = "control.sock"
MAX_LINE_BYTES = 4096
MAX_ANSWER_BYTES = 16 * 1024 * 1024
MAX_ASKING = 16
ASK_SECONDS = 5.0


class ControlServer:
    """Answers `{"ask": "status"}` while its block runs; `status` is called once a question."""

    def __init__(self, path: Path, status: Callable[[], dict[str, Any]]) -> None:
        self._path = path
        self._status = status
        self._asking: set[_Asking] = set()
        self._server: asyncio.Server | None = None

    async def __aenter__(self) -> Self:
        """Listen, taking the place of a socket a dead daemon left; raises StateWriteError."""
        loop = asyncio.get_running_loop()
        try:
            # Safe to remove: whoever gets here holds the state folder's lock.
            if self._path.exists() and stat.S_ISSOCK(self._path.lstat().st_mode):
                self._path.unlink()
            self._server = await loop.create_unix_server(
                lambda: _Asking(self._status, self._asking), str(self._path)
            )
            self._path.chmod(0o600)
        except OSError as error:
            raise StateWriteError(
                f"cannot listen on {self._path}: {error.strerror or error}"
            ) from None
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._server is not None:
            self._server.close()
        for asking in list(self._asking):
            asking.abort()
        with contextlib.suppress(OSError):
            self._path.unlink()


class _Asking(asyncio.Protocol):
    """One question: a line in, a line out, closed; cut when it takes too long."""

    def __init__(self, status: Callable[[], dict[str, Any]], asking: "set[_Asking]") -> None:
        self._status = status
        self._asking = asking
        self._line = bytearray()
        self._transport: asyncio.Transport | None = None
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._timer = asyncio.get_running_loop().call_later(ASK_SECONDS, self.abort)
        self._asking.add(self)
        if len(self._asking) > MAX_ASKING:
            self.abort()

    def data_received(self, data: bytes) -> None:
        if self._transport is None or self._transport.is_closing():
            return
        self._line += data
        if b"\n" in self._line:
            self._transport.write(self._answer(bytes(self._line).partition(b"\n")[0]))
            self._transport.close()
        elif len(self._line) > MAX_LINE_BYTES:
            self._transport.abort()

    def _answer(self, line: bytes) -> bytes:
        try:
            question = json.loads(line)
        except ValueError:
            question = None
        if question == {"ask": "status"}:
            answer = self._status()
        else:
            answer = {"error": "unknown question"}
        return json.dumps(answer).encode() + b"\n"

    def connection_lost(self, exc: Exception | None) -> None:
        self._asking.discard(self)
        if self._timer is not None:
            self._timer.cancel()

    def abort(self) -> None:
        if self._transport is not None:
            self._transport.abort()


def ask_status(state_dir: Path) -> dict[str, Any]:
    """Ask the running daemon for its status; waits at most 5 s a step; raises NotRunningError."""
    path = state_dir / SOCKET_FILE
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as asking:
            asking.settimeout(ASK_SECONDS)
            asking.connect(str(path))
            asking.sendall(b'{"ask": "status"}\n')
            with asking.makefile("rb") as answer:
                line = answer.readline(MAX_ANSWER_BYTES)
        status = json.loads(line)
    except FileNotFoundError:
        raise NotRunningError(f"no daemon listens at {path}") from None
    except ConnectionRefusedError:
        raise NotRunningError(f"the daemon behind {path} has ended") from None
    except (OSError, ValueError) as error:
        raise NotRunningError(f"no answer from {path}: {error}") from None
    if not isinstance(status, dict):
        raise NotRunningError(f"no answer from {path}")
    return status
