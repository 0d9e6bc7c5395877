"""The process that closes segments: `python -m shared.audit.closer FOLDER [patient]`.

Its work is on standard input; of each part that is done it says, a line each, which calls are
under way there. A patient one computes while a processor has nothing else to do, from the start:
what it needs is imported after.
"""

import json
import os
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from shared.audit.closing import Full

_NICEST = 19
_SPELL, _REST = 0.01, 0.04
"""Seconds that a patient one computes, and rests, where nobody lets it be less urgent."""


def work(folder: Path, told: bytes) -> Iterator[dict[str, Any]]:
    """Do what was told, in order, and yield what is said of each part; raises ValueError."""
    from shared.audit.closing import Full
    from shared.audit.private import AuditError
    from shared.audit.segments import segment_name
    from shared.audit.tombstones import start_of

    given = json.loads(told)
    calls: dict[str, int] = given["open"]
    for each in given["left"]:
        end = None if each["end"] is None else start_of(each["end"])
        try:
            calls = _close(folder, Full(each["first"], end, each["note"]), calls)
        except (OSError, AuditError) as error:
            # What follows rests on which calls are under way here.
            yield {"why": f"{segment_name(each['first'])}: {error}"}
            return
        yield {"open": calls}


def _close(folder: Path, full: "Full", calls: dict[str, int]) -> dict[str, int]:
    from shared.audit.ends import End, open_after, write_end
    from shared.audit.segments import compress, compressed_path, segment_name

    path = folder / segment_name(full.first)
    if not (path.exists() or compressed_path(path).exists()):
        return calls  # removed by retention meanwhile
    if full.end is not None:
        calls = open_after(path, calls)
        write_end(folder, full.first, End(full.end, full.note, calls))
    try:
        compress(path)
    except FileNotFoundError:
        if path.exists():
            raise
        # By who was killed before he could say so.
    return calls


@contextmanager
def patient() -> Iterator[None]:
    """Let everything else on this machine go first."""
    try:
        os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
        os.setpriority(os.PRIO_PROCESS, 0, _NICEST)
    except OSError:
        # A unit of systemd that forbids it, as ours do: then a fifth of a processor is enough.
        signal.signal(signal.SIGPROF, lambda *_: time.sleep(_REST))
        signal.setitimer(signal.ITIMER_PROF, _SPELL, _SPELL)
    try:
        yield
    finally:
        # Python takes its handlers away before it ends, and then the signal would kill it.
        signal.setitimer(signal.ITIMER_PROF, 0)


def main() -> None:
    """Close what standard input says, then make the indexes that are missing."""
    folder, *how = sys.argv[1:]
    # Leaves by an exception, so that nothing half made stays behind.
    signal.signal(signal.SIGTERM, lambda number, _frame: sys.exit(128 + number))
    with patient() if how else nullcontext():
        from shared.audit.indexing import make_bounded

        for said in work(Path(folder), sys.stdin.buffer.read()):
            sys.stdout.write(f"{json.dumps(said)}\n")
            sys.stdout.flush()
        make_bounded(Path(folder))


if __name__ == "__main__":
    main()
