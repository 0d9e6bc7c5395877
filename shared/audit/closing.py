"""Has segments that are full closed by a process: what that takes, no call waits for.

How one ends is noted, it is compressed, and it gets its index. That is a third of all that a log
costs, most of it Python: a thread would hold up the event loop, which shares the interpreter with
it. The process (`shared.audit.closer`) is given no environment.
"""

import contextlib
import json
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import structlog

from shared.audit.indexing import is_worth
from shared.audit.private import AuditError
from shared.audit.segments import clear_drafts
from shared.audit.tombstones import facts_of
from shared.record.verify import Start

log = structlog.get_logger("shared.audit")

PATIENT = 3
"""Segments that may be left for when a processor has nothing else to do; of more none waits."""
STOP_SECONDS = 1.0
"""For the process to take back what is half made, when the log is closed."""


@dataclass(frozen=True, slots=True)
class Full:
    """A segment that was left; how it ends, when that is not noted yet."""

    first: int
    end: Start | None = None
    note: str = ""
    """A checkpoint that vouches for it."""

    def spelled(self) -> dict[str, Any]:
        """Return it as JSON."""
        end = None if self.end is None else facts_of(self.end)
        return {"first": self.first, "end": end, "note": self.note}


class Closing:
    """Has segments of one log closed, in the order in which they were left."""

    def __init__(self, folder: Path, open_calls: Mapping[str, int]) -> None:
        self._folder = folder
        self._open = dict(open_calls)
        """Calls under way where the next segment begins; the thread's own."""
        self._left: deque[Full] = deque()
        """The loop appends, the thread takes away."""
        self._lock = threading.Lock()
        self._stopped = False
        self._child: subprocess.Popen[bytes] | None = None
        self._patient = False
        """Does it wait for an idle processor?"""
        self._ended = False
        """Was it told to end?"""
        self._thread = ThreadPoolExecutor(1, "audit-close")

    def close(self, parts: Sequence[Full]) -> None:
        """Have these closed, and missing indexes made; returns at once."""
        self._left.extend(parts)
        if len(self._left) > PATIENT:
            self._hurry()
        with contextlib.suppress(RuntimeError):  # stopped: the next start does it
            self._thread.submit(self._work)

    def _work(self) -> None:
        try:
            if self._left or is_worth(self._folder):
                self._run()
        except (OSError, AuditError, ValueError) as error:
            self._warn(str(error))

    def _run(self) -> None:
        """Run the process; what it does not come to is first in line the next time."""
        # Isolated: nothing of the environment or of the folder it is started in is imported.
        command = [sys.executable, "-I", "-m", "shared.audit.closer", str(self._folder)]
        with self._lock:
            if self._stopped:
                return
            self._ended = False
            self._patient = len(self._left) <= PATIENT
            if self._patient:
                command.append("patient")
            child = self._child = subprocess.Popen(  # noqa: S603
                command,
                env={},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
            )
        work = {"open": self._open, "left": [each.spelled() for each in list(self._left)]}
        with child:
            self._talk(child, json.dumps(work).encode())
        if child.returncode:
            clear_drafts(self._folder, of_closing=True)  # nobody else writes any
            if not self._ended:
                self._warn(f"the process ended with {child.returncode}")

    def _talk(self, child: "subprocess.Popen[bytes]", work: bytes) -> None:
        told, said = child.stdin, child.stdout
        if told is None or said is None:
            raise ValueError("the process has no pipes")
        with contextlib.suppress(BrokenPipeError), told:
            told.write(work)
        for line in said:
            if not line.endswith(b"\n"):
                return  # killed while it said so: that segment is done again
            done = json.loads(line)
            if "why" in done:
                self._warn(done["why"])
                continue
            self._open = done["open"]
            self._left.popleft()

    def _hurry(self) -> None:
        """End a patient process, which may be starved: the next one does not wait."""
        with self._lock:
            child = self._child
            if self._patient and child is not None and child.poll() is None:
                self._ended = True
                child.kill()

    def _warn(self, why: str) -> None:
        log.warning("a closed segment stays as it is", folder=str(self._folder), why=why)

    def stop(self) -> None:
        """End it: what is not closed yet will be when the log is opened again."""
        with self._lock:
            self._stopped = self._ended = True
            if self._child is not None:
                self._child.terminate()
                # A patient one is patient here too.
                with contextlib.suppress(subprocess.TimeoutExpired):
                    self._child.wait(STOP_SECONDS)
                self._child.kill()
        self._thread.shutdown(wait=True, cancel_futures=True)
