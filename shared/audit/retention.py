"""Removes old segments: never by itself, never by one person, and never without a trace.

There is no other way to take a record out of a log. What was removed stays provable: the tombstone
says which records are gone, who wanted it, and what the rest follows.
"""

import asyncio
import contextlib
import time
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import anyio

from shared.audit.ends import end_path, read_end
from shared.audit.indexing import index_path
from shared.audit.log import AuditLog
from shared.audit.private import AuditError
from shared.audit.segments import Segment, born, segments
from shared.audit.tombstones import facts_of, kept, read_start, write_start
from shared.record import encode
from shared.record.model import TOMBSTONE
from shared.record.verify import Start

WAIT_SECONDS = 30.0
MAX_NAME = 256


class Purged(NamedTuple):
    """What was removed."""

    segments: int
    first_left: int
    """Number of the first record that is still there."""


async def purge(
    log: AuditLog, before: int, approvers: Sequence[str], *, keep_seconds: float
) -> Purged:
    """Remove the segments whose records are all older than `before`; raises AuditError.

    `approvers`: two people whom the caller has authenticated. `before`: microseconds since 1970;
    what is younger than `keep_seconds` stays whoever asks.
    """
    names = _two_people(approvers)
    if before > (time.time() - keep_seconds) * 1e6:
        raise AuditError(f"records are kept for {keep_seconds / 86400:.0f} days")
    # One at a time: what one removes while another waits for the disk is not there any more.
    async with log.removing:
        return await _remove_older(log, before, names)


async def _remove_older(log: AuditLog, before: int, approvers: list[str]) -> Purged:
    # Two people wanted these removed already: the disk, or a kill, was in the way.
    below = read_start(log.folder).size
    again = [each for each in segments(log.folder) if each.first < below]
    for segment in again:
        remove(segment)
    old, left = _older(log.folder, before)
    if not old:
        return Purged(len(again), left)
    end = read_end(log.folder, old[-1].first, log.public)
    if end is None or end.start.size != left:
        raise AuditError(f"{old[-1].path} is not closed for good yet; try again later")
    await _say(log, end.start, approvers, before)
    write_start(log.folder, end.start)
    for segment in old:
        remove(segment)
    return Purged(len(again) + len(old), left)


def _two_people(approvers: Sequence[str]) -> list[str]:
    names = [" ".join(name.split()) for name in approvers]
    if len({name.casefold() for name in names}) < 2 or not all(names):
        raise AuditError("two different people have to want that records are removed")
    if any(len(name) > MAX_NAME or not name.isprintable() for name in names):
        raise AuditError("that is nobody's name")
    return names


def _older(folder: Path, before: int) -> tuple[list[Segment], int]:
    """Return the closed segments that are old enough, and the number of the first record left."""
    start, parts = kept(folder)
    old: list[Segment] = []
    left = start.size
    for segment, after in pairwise(parts):
        # All of its records are older than the first one of the next.
        newest = born(after.path)
        if newest is None or newest > before:
            break
        old.append(segment)
        left = after.first
    return old, left


async def _say(log: AuditLog, start: Start, approvers: list[str], before: int) -> None:
    """Write the tombstone, and wait until it is on the disk."""
    facts = {**facts_of(start), "approvers": approvers, "before": before}
    seq = log.write(lambda seq, now: encode.event(TOMBSTONE, facts, seq, now))
    told: asyncio.Future[str | None] = asyncio.get_running_loop().create_future()

    def tell(why: str | None) -> None:
        if not told.done():
            told.set_result(why)

    log.durable(seq, tell)
    try:
        with anyio.fail_after(WAIT_SECONDS):
            why = await told
    except TimeoutError:
        why = "the disk does not answer"
    if why is not None:
        raise AuditError(why)


def remove(segment: Segment) -> None:
    """Remove a segment and what lies beside it for it; raises AuditError."""
    folder = segment.path.parent
    index = index_path(folder, segment.first)
    try:
        # The index once more: it may have been made just then.
        for path in (index, segment.path, index, end_path(folder, segment.first)):
            with contextlib.suppress(FileNotFoundError):
                path.unlink()
    except OSError as error:
        raise AuditError(f"cannot remove {segment.path}: {error.strerror}") from None
