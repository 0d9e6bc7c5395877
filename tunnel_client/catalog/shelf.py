"""What is known of one upstream: what was pinned, what was seen, and what no longer fits."""

from dataclasses import dataclass, field

from tunnel_client.catalog.definitions import Item, Kind, leaks
from tunnel_client.catalog.leaking import Leaking
from tunnel_client.catalog.pins import Approval, Pin

ROOM_TO_LEARN = 8 * 1024 * 1024
"""Characters an upstream can make us keep between two listings."""


@dataclass(slots=True)
class Shelf:
    """One upstream's; `changed` holds the approval a differing definition was seen against."""

    pinning: bool
    leaking: Leaking
    changed: dict[str, Approval]
    pins: dict[str, Pin] = field(default_factory=dict)
    callable: dict[str, Pin] = field(default_factory=dict)
    seen: dict[tuple[Kind, str], Item] = field(default_factory=dict)
    listed: bool = False
    error: str | None = None
    nameless: int = 0
    room: int = ROOM_TO_LEARN

    def take(self, pins: dict[str, Pin]) -> bool:
        """Take in what is pinned now; tells whether what was approved is not what was seen."""
        before, self.pins = self.pins, pins
        # Approved again, be it the same definition: what was seen before is past. Another class is
        # no approval, and neither is a file of pins that was away for a while.
        self.changed = {
            name: approval
            for name, approval in self.changed.items()
            if (pin := pins.get(name)) is None or pin.approval == approval
        }
        self.callable = {
            name: pin
            for name, pin in pins.items()
            if name not in self.changed and not leaks(pin.definition)
        }
        return any(
            self.shows_another(pin)
            for name, pin in pins.items()
            if name not in before or before[name].approval != pin.approval
        )

    def shows_another(self, pin: Pin) -> bool:
        """Tell whether the newest definition that was seen of a tool is not the pinned one."""
        item = self.seen.get((Kind.TOOL, pin.name))
        return item is not None and item.sha256 != pin.sha256
