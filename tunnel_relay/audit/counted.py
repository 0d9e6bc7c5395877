"""What strangers can cause as often as they like: counted together for a moment, then a record.

One record says what happened how often, and when first and last. What is new while the table is
full is counted as well, under its kind alone: nothing is dropped, and nobody fills the disk.
"""

import asyncio
import time
from collections.abc import Mapping
from typing import Any

from shared.audit.log import AuditLog
from shared.jsonrpc.canonical import canonical

EVERY_SECONDS = 2.0
"""How long what happened may wait for company; a killed relay loses no more than that."""
MAX_COUNTED = 512
"""Different things counted at a time."""
OTHERS = {"reason": "others: too many to tell apart"}


class _Count:
    __slots__ = ("began", "count", "ended", "facts", "kind")

    def __init__(self, kind: str, facts: Mapping[str, Any], now: int) -> None:
        self.kind = kind
        self.facts = dict(facts)
        self.count = 0
        self.began = self.ended = now


class Counted:
    """Counts for one log; runs on its loop."""

    def __init__(self, log: AuditLog) -> None:
        self._log = log
        self._loop = asyncio.get_running_loop()
        self._table: dict[bytes, _Count] = {}
        self._timer: asyncio.TimerHandle | None = None

    def count(self, kind: str, facts: Mapping[str, Any]) -> None:
        """Count one; equal ones make one record."""
        now = time.time_ns() // 1000
        found = self._table.get(key := _key(kind, facts))
        if found is None and len(self._table) >= MAX_COUNTED:
            facts = OTHERS
            found = self._table.get(key := _key(kind, facts))
        if found is None:
            found = self._table[key] = _Count(kind, facts, now)
            if self._timer is None:
                self._timer = self._loop.call_later(EVERY_SECONDS, self.flush)
        found.count += 1
        found.ended = now

    def flush(self) -> None:
        """Make records of what was counted."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        table, self._table = self._table, {}
        for each in table.values():
            times = {"began": each.began, "count": each.count, "ended": each.ended}
            self._log.add(each.kind, {**each.facts, **times})


def _key(kind: str, facts: Mapping[str, Any]) -> bytes:
    return canonical([kind, dict(facts)])
