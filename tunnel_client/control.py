"""Lets commands ask the running daemon: one JSON line each way on a Unix socket.

`status` asks how it is; commands that change something have the daemon write that down first,
because one process writes the log.

The socket is 0600 in a folder of 0700, so only the daemon's own user (and root) can ask.
"""

import asyncio
import contextlib
import json
import socket
import stat
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Self, cast

from shared.holder import LOCK_FILE, Holder, holder_of
from shared.tasklist import tasks
from tunnel_client.errors import NotAnsweringError, NotRunningError, StateWriteError

SOCKET_FILE = "control.sock"
MAX_LINE_BYTES = 4096
MAX_ANSWER_BYTES = 16 * 1024 * 1024
MAX_ASKING = 16
ASK_SECONDS = 5.0
START_PATIENCE = 3.0
"""Seconds for which a daemon that holds the state folder may still be starting or stopping."""
LOOK_SECONDS = 0.05

Told = Callable[[str | None], None]
"""Called once: None when it is written down, durably, else why not."""
Record = Callable[[str, dict[str, Any], Told], None]
"""Writes down what a command is about to do."""


class ControlServer:
    """Answers questions while its block runs.

    `{"ask": "status"}` with what `status` returns; `{"ask": "record", "kind": .., "facts": ..}`
    once `record` has told; `{"ask": "tasks"}` with where each task waits.
    """

    def __init__(
        self, path: Path, status: Callable[[], dict[str, Any]], record: Record | None = None
    ) -> None:
        self._path = path
        self._status = status
        self._record = record
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
                lambda: _Asking(self._status, self._record, self._asking), str(self._path)
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

    def __init__(
        self,
        status: Callable[[], dict[str, Any]],
        record: Record | None,
        asking: "set[_Asking]",
    ) -> None:
        self._status = status
        self._record = record
        self._asked = False
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
        if self._transport is None or self._transport.is_closing() or self._asked:
            return
        self._line += data
        if b"\n" in self._line:
            self._asked = True
            self._judge(bytes(self._line).partition(b"\n")[0])
        elif len(self._line) > MAX_LINE_BYTES:
            self._transport.abort()

    def _judge(self, line: bytes) -> None:
        try:
            question = json.loads(line)
        except (ValueError, RecursionError):
            question = None
        match question:
            case {"ask": "status"} if len(question) == 1:
                self._answer(self._status())
            case {"ask": "tasks"} if len(question) == 1:
                self._answer({"tasks": tasks()})
            case {"ask": "record", "kind": str(kind), "facts": dict(facts)} if self._record:
                self._record(
                    kind, facts, lambda why: self._answer({"recorded": why is None, "why": why})
                )
            case _:
                self._answer({"error": "unknown question"})

    def _answer(self, answer: dict[str, Any]) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(json.dumps(answer).encode() + b"\n")
            self._transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        self._asking.discard(self)
        if self._timer is not None:
            self._timer.cancel()

    def abort(self) -> None:
        if self._transport is not None:
            self._transport.abort()


def ask_status(state_dir: Path) -> dict[str, Any]:
    """Ask the running daemon for its status; waits at most 5 s a step.

    Raises NotRunningError: NotAnsweringError where a process holds the state folder.
    """
    return _ask(state_dir, {"ask": "status"})


def ask_tasks(state_dir: Path) -> dict[str, Any]:
    """Ask the running daemon where its tasks wait; raises NotRunningError."""
    return _ask(state_dir, {"ask": "tasks"})


def ask_record(state_dir: Path, kind: str, facts: dict[str, Any]) -> str | None:
    """Have the running daemon write something down; returns why it could not.

    Raises NotRunningError.
    """
    answer = _ask(state_dir, {"ask": "record", "kind": kind, "facts": facts})
    if answer.get("recorded") is True:
        return None
    return str(answer.get("why") or answer.get("error") or "no reason given")


def _ask(state_dir: Path, question: dict[str, Any]) -> dict[str, Any]:
    """Ask, and wait a little for a daemon that starts or ends: it holds the state folder."""
    give_up = time.monotonic() + START_PATIENCE
    path = state_dir / SOCKET_FILE
    while True:
        why = f"there is no {path}"
        try:
            return _answer_of(path, question)
        except FileNotFoundError:
            problem = NotRunningError(f"no daemon listens at {path}")
        except ConnectionRefusedError:
            problem = NotRunningError(f"the daemon behind {path} has ended")
            why = f"nobody listens at {path}"
        except (OSError, ValueError) as error:
            problem = NotRunningError(f"no answer from {path}: {error}")
            why, give_up = str(error), 0.0
        holder = holder_of(state_dir / LOCK_FILE)
        if holder is None:
            raise problem
        if time.monotonic() >= give_up:
            raise unanswered(holder, state_dir, why)
        time.sleep(LOOK_SECONDS)


def _answer_of(path: Path, question: dict[str, Any]) -> dict[str, Any]:
    """Return the answer to a question; raises OSError and ValueError."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as asking:
        asking.settimeout(ASK_SECONDS)
        asking.connect(str(path))
        asking.sendall(json.dumps(question).encode() + b"\n")
        with asking.makefile("rb") as answer:
            line = answer.readline(MAX_ANSWER_BYTES)
    said = json.loads(line)
    if not isinstance(said, dict):
        raise ValueError("the answer was not understood")
    return said


def unanswered(holder: Holder, state_dir: Path, why: str) -> NotAnsweringError:
    """Say that whoever holds the state folder does not answer, and what to do about it. Pure."""
    mend = f"kill -CONT {holder.pid}" if holder.stopped else None
    return NotAnsweringError(f"{holder} holds {state_dir} and does not answer: {why}", mend)
