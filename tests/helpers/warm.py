"""Runs commands of ours in processes forked from one that has imported both programs.

A scene takes two daemons, five commands and more, and most of what one costs is importing: a
command that took 0.45 s started from nothing takes 0.06 s forked. Each is a process of its own all
the same, with its own arguments, environment and output; that the installed commands start is for
tests of those.
"""

import asyncio
import atexit
import contextlib
import gc
import importlib
import json
import os
import random
import select
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

PROGRAMS = {"tunnel-relay": "tunnel_relay.cli", "tunnel-client": "tunnel_client.cli"}
LATER = (
    *("tunnel_relay.admin.reach", "tunnel_relay.init", "tunnel_client.enroll"),
    *("tunnel_relay.serve", "tunnel_client.app", "uvloop", "aiosqlite", "alembic.command"),
)
"""What commands import when they are run."""
WARNINGS = "default"
"""What Python warns of, in the process that the others come from and so in each."""
FORK_SECONDS = 30.0
_LARGEST = 128 * 1024
_lock = threading.Lock()
_there: list[socket.socket] = []


class Ended(NamedTuple):
    """What a command came to."""

    code: int
    out: str
    err: str


class Daemon:
    """A command that runs on; what `asyncio.subprocess.Process` tells of one, for any loop."""

    def __init__(self, told: int) -> None:
        self._told = told
        self._code: int | None = None
        self.pid = int(_line(told, FORK_SECONDS))

    @property
    def returncode(self) -> int | None:
        """How it ended, None while it runs."""
        if self._code is None:
            with contextlib.suppress(TimeoutError):
                self._code = int(_line(self._told, 0))
                os.close(self._told)
        return self._code

    async def wait(self) -> int:
        """Wait for its end."""
        while (code := self.returncode) is None:  # noqa: ASYNC110 - whatever loop asks
            await asyncio.sleep(0.01)
        return code

    def send_signal(self, number: int) -> None:
        """Send it alone a signal; raises ProcessLookupError when it has ended."""
        os.kill(self.pid, number)

    def kill(self) -> None:
        """Kill it; raises as `send_signal`."""
        self.send_signal(signal.SIGKILL)


def run(program: str, words: Sequence[str], env: Mapping[str, str], seconds: float) -> Ended:
    """Run a command to its end; raises TimeoutError, and then it is killed. Blocks."""
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        told = _ask(program, words, env, out.fileno(), err.fileno())
        try:
            pid = int(_line(told, seconds))
            try:
                code = int(_line(told, seconds))
            except TimeoutError:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
                raise
        finally:
            os.close(told)
        return Ended(code, _all(out), _all(err))


def start(program: str, words: Sequence[str], env: Mapping[str, str], sink: int) -> Daemon:
    """Start a command that runs on, in a session of its own; `sink` takes what it writes."""
    return Daemon(_ask(program, words, env, sink, sink, leads=True))


def _ask(
    program: str,
    words: Sequence[str],
    env: Mapping[str, str],
    *outputs: int,
    leads: bool = False,
) -> int:
    """Have a command forked; return where its number and, a line later, its end are told."""
    ours, theirs = os.pipe()
    wanted = {"program": program, "words": list(words), "env": dict(env), "leads": leads}
    try:
        socket.send_fds(_server(), [json.dumps(wanted).encode()], [*outputs, theirs])
    except BaseException:
        os.close(ours)
        raise
    finally:
        os.close(theirs)
    return ours


def _line(told: int, seconds: float) -> bytes:
    """Read a line, which is written at once; raises TimeoutError."""
    coming = select.poll()  # `select` takes no descriptor above 1,023
    coming.register(told, select.POLLIN)
    if not coming.poll(seconds * 1000):
        raise TimeoutError
    line = b""
    while not line.endswith(b"\n") and (piece := os.read(told, 1)):
        line += piece
    return line


def _all(file: Any) -> str:
    file.seek(0)
    text: str = file.read().decode()
    return text


def _server() -> socket.socket:
    """Return the way to the process that forks, started with the first command."""
    with _lock:
        if not _there:
            ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            subprocess.run(
                [sys.executable, "-m", "tests.helpers.warm", str(theirs.fileno())],
                stdin=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
                cwd=Path(__file__).parents[2],
                env={**os.environ, "PYTHONWARNINGS": WARNINGS},
                check=True,
            )
            theirs.close()
            atexit.register(ours.close)
            _there.append(ours)
        return _there[0]


# In the process that forks ----------------------------------------------------------------------


def serve(given: socket.socket) -> tuple[bytes, list[int]] | None:
    """Fork for each command; returns in the process that is to be one, and at the end."""
    while True:
        asked, files, _, _ = socket.recv_fds(given, _LARGEST, 3)
        if not asked:
            return None
        if os.fork() == 0:
            given.close()
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            command = os.fork()
            if command == 0:
                os.close(files.pop())
                return asked, files
            os.write(files[2], b"%d\n" % command)
            _, status = os.waitpid(command, 0)
            with contextlib.suppress(BrokenPipeError):  # nobody waits any more
                os.write(files[2], b"%d\n" % os.waitstatus_to_exitcode(status))
            os._exit(0)
        for file in files:
            os.close(file)


def become(asked: bytes, files: list[int]) -> None:
    """Be the command, with nothing left of whom it was forked from."""
    for number, file in enumerate(files, 1):
        os.dup2(file, number)
        os.close(file)
    sys.stdout = open(1, "w", encoding="utf-8", closefd=False)  # noqa: SIM115 - to the end
    sys.stderr = open(2, "w", encoding="utf-8", buffering=1, closefd=False)  # noqa: SIM115
    wanted = json.loads(asked)
    if wanted["leads"]:
        os.setsid()
    os.environ.clear()
    os.environ.update(wanted["env"])
    random.seed()
    sys.argv = [wanted["program"], *wanted["words"]]
    importlib.import_module(PROGRAMS[wanted["program"]]).main()


def main() -> None:
    """Import what commands need, then serve; no child of whom it serves, who counts their own."""
    if os.fork():
        return
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    for name in (*PROGRAMS.values(), *LATER):
        importlib.import_module(name)
    importlib.import_module("tunnel_relay.cli").build()
    gc.freeze()  # what is never looked at stays shared
    with socket.socket(fileno=int(sys.argv[1])) as given:
        found = serve(given)
    if found is not None:
        become(*found)


if __name__ == "__main__":
    main()
