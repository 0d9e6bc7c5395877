"""What an upstream lists with its own credential in it, and the alarm about that."""

import time
from collections.abc import Collection

import structlog

from shared.audit import events
from shared.few import Few
from tunnel_client.catalog.definitions import Item, Kind
from tunnel_client.catalog.listing import MAX_ITEMS

log = structlog.get_logger("tunnel_client.catalog")

ALARMS = 20
"""In a minute, of one upstream; it can show and hide a credential as often as it likes."""
_MINUTE = 60.0


class Leaking:
    """Which items of one upstream show a credential, as they were last seen."""

    def __init__(self, upstream: str) -> None:
        self._upstream = upstream
        self._found: set[tuple[Kind, str]] = set()
        self._few = Few(ALARMS, _MINUTE)

    def __contains__(self, key: tuple[Kind, str]) -> bool:
        return key in self._found

    def note(self, item: Item) -> None:
        """Look at an item as it is now; the first time it leaks is written down, and loud."""
        key = (item.kind, item.name)
        if not item.leaks:
            self._found.discard(key)
        elif key not in self._found and len(self._found) < MAX_ITEMS:
            self._found.add(key)
            left_out = self._few.take(time.monotonic())
            if left_out is not None:
                facts = {"upstream": self._upstream, "item": item.kind.value, "name": item.name}
                events.note("credential.listed", **facts)
                why = "ALARM: an upstream shows its credential in what it lists: held back"
                log.error(why, **facts, left_out=left_out)

    def keep(self, listed: Collection[tuple[Kind, str]]) -> None:
        """Forget what is no longer listed."""
        self._found.intersection_update(listed)
