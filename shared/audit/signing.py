"""Checkpoints of a log that is written, and what becomes of a segment that is full.

A checkpoint is signed when the records it vouches for are on the disk: after a fault of power it
never says more than is there.
"""

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from shared.audit.closing import Closing, Full
from shared.audit.notes import append_note, last_note
from shared.audit.segments import Segment
from shared.keys import PrivateKey
from shared.record.checkpoint import Checkpoint, sign
from shared.record.tree import Tree
from shared.record.verify import Start

CHECKPOINT_RECORDS = 4096


class Signing:
    """Signs for one log, and has what is full closed; used on the loop."""

    def __init__(
        self,
        folder: Path,
        origin: str,
        key: PrivateKey,
        size: int,
        open_calls: Mapping[str, int],
    ) -> None:
        self._folder = folder
        self._origin = origin
        self._key = key
        self._closing = Closing(folder, open_calls)
        self._waiting: deque[tuple[Checkpoint, Full | None]] = deque()
        self._captured = size
        self.now = False
        """Is a checkpoint wanted, however few records are new?"""
        self.newest = last_note(folder)

    def is_due(self, written: int) -> bool:
        """Tell whether it is time for a checkpoint of so many records."""
        new = written - self._captured
        return new >= CHECKPOINT_RECORDS or (self.now and new > 0)

    def capture(self, tree: Tree) -> None:
        """Remember a checkpoint of what is in the tree, if it is time for one."""
        if self.is_due(tree.size):
            self._capture(tree, None)
        self.now = False

    def border(self, first: int, tree: Tree, before: bytes) -> None:
        """Remember that a segment is full, and what the next one follows."""
        self._capture(tree, Full(first, Start(tree.size, before, tree.edge)))

    def _capture(self, tree: Tree, full: Full | None) -> None:
        self._waiting.append((Checkpoint(self._origin, tree.size, tree.root()), full))
        self._captured = tree.size

    def durable(self, size: int) -> None:
        """Sign what was remembered and is on the disk now; raises OSError, and does it again."""
        while self._waiting and self._waiting[0][0].size <= size:
            point, full = self._waiting[0]
            note = sign(point, self._key)
            append_note(self._folder, note)
            self.newest = note
            self._waiting.popleft()
            if full is not None:
                self._closing.close([replace(full, note=note)])

    def compress(self, parts: Sequence[Segment]) -> None:
        """Have segments compressed that were closed before, and what has no index get one."""
        self._closing.close([Full(each.first) for each in parts])

    def close(self) -> None:
        """Stop: what is not compressed yet will be when the log is opened again."""
        self._closing.stop()
