"""Which tools of which upstream agents may see and call: what was pinned against what was seen.

`callable` and the filters are asked on the way of a call: they wait for nothing, read no file and
cost a lookup, or one pass over a list. What they learn of a server on the way is remembered.
"""

from collections.abc import Callable, Collection, Mapping
from enum import StrEnum
from typing import Any, NamedTuple

import structlog

from shared.audit import events
from shared.policy.classes import ToolClass
from tunnel_client.catalog.definitions import (
    Digests,
    Item,
    Kind,
    entry_leaks,
    instructions_item,
    item_of,
    leaks,
    name_of,
)
from tunnel_client.catalog.leaking import Leaking
from tunnel_client.catalog.listing import MAX_ITEMS, Listing
from tunnel_client.catalog.marks import Marks
from tunnel_client.catalog.marks import Table as MarkTable
from tunnel_client.catalog.pins import Pin, Pins
from tunnel_client.catalog.scan import Flag, Known, counts, hides, known_to, scan
from tunnel_client.catalog.shelf import ROOM_TO_LEARN, Shelf

log = structlog.get_logger("tunnel_client.catalog")

MAX_SHOWN = 20
"""Names a status lists for each upstream."""
MAX_VERDICTS = 6_000
LEARNED_AT_ONCE = 200
"""Unknown tools of one list that are looked at as it passes; a listing of our own sees the rest."""
LONGEST_LEARNED = 64 * 1024
"""Characters of a definition that is kept when it passes by."""
LONGER_AT_MOST = 32
"""The text of an entry, escaped, is never so many times longer than the same in canonical form."""
PINNING_OFF = "OFF: agents can call every tool, new and changed ones too"


class State(StrEnum):
    """Where a tool stands; only a pinned one can be called."""

    PINNED = "pinned"
    NEW = "new"
    """Nobody pinned it."""
    CHANGED = "changed"
    """Another definition than the pinned one was seen since it was pinned."""
    GONE = "gone"
    """Pinned, and no longer listed; it can still be called."""
    CREDENTIAL = "credential"
    """The upstream's credential stood in its definition; no pin helps until it is gone."""


class ToolState(NamedTuple):
    """What is known of a tool; `sha256` is that of the newest definition seen, or of the pin."""

    name: str
    tool_class: ToolClass | None
    sha256: str
    state: State
    flags: tuple[Flag, ...]
    title: str = ""

    def as_frame(self) -> dict[str, Any]:
        """Return what the relay is told of it."""
        return {
            "name": self.name,
            "class": None if self.tool_class is None else self.tool_class.value,
            "sha256": self.sha256,
            "state": self.state.value,
            "title": self.title,
        }


class Catalog:
    """Owns what is known of every upstream; used on the event loop's thread only.

    `unpinned` names the upstreams whose tools need no pin. `wanted` is called with an upstream's
    name when a list that passed by shows something not known, so that somebody lists it anew.
    `marked` is called when `marks` says something else, to have it stored; left out: on the spot.
    """

    def __init__(
        self,
        pins: Pins,
        upstreams: Collection[str],
        unpinned: Collection[str] = (),
        wanted: Callable[[str], None] | None = None,
        marked: Callable[[], None] | None = None,
    ) -> None:
        """Read what changed before; raises BrokenPinsError and UnsafeFileError."""
        self._pins = pins
        self._marks = Marks(pins.folder)
        self._digests = Digests()
        self._flags: dict[tuple[str, str], tuple[Flag, ...]] = {}
        self._shelves = {
            name: Shelf(name not in unpinned, Leaking(name), self._marks.of(name))
            for name in upstreams
        }
        self._known: dict[str, Known] = {}
        self.wanted = wanted or (lambda upstream: None)
        self.marked = marked or (lambda: self.store(self.marks()))
        self.version = 0
        """Grows whenever `snapshot` of any upstream may say something else."""
        for name in self._shelves:
            self._take_pins(name)

    # For the gate -------------------------------------------------------------------------------

    def callable(self, upstream: str, tool: str) -> Pin | None:
        """Return the pin a call of a tool rests on; None when there is no such tool for agents.

        Without pinning, a tool nobody pinned has a pin without digest and class.
        """
        shelf = self._shelves.get(upstream)
        if shelf is None:
            return None
        pin = shelf.callable.get(tool)
        if pin is None and not shelf.pinning and (Kind.TOOL, tool) not in shelf.leaking:
            return shelf.pins.get(tool) or Pin(tool, "", None, "", 0, "")
        return pin

    def is_pinned(self, upstream: str) -> bool:
        """Tell whether agents see only what was pinned; True also of an upstream nobody knows."""
        shelf = self._shelves.get(upstream)
        return shelf is None or shelf.pinning

    def filter_tools(self, upstream: str, listed: list[Any]) -> list[Any]:
        """Return the entries of a `tools/list` whose definition is the pinned one, as they stand.

        Read the list with `canonical.exact`. Every entry is judged as it is in this very list, so
        a server that shows different agents different tools shows them nothing unapproved.
        """
        shelf = self._shelves.get(upstream)
        if shelf is None:
            return []
        seen = self._learn_from(upstream, shelf, listed)
        if not shelf.pinning:
            return [entry for entry in listed if not entry_leaks(entry)]
        kept: dict[str, Any] = {}
        for entry, (name, sha256) in zip(listed, seen, strict=True):
            pin = shelf.callable.get(name)
            if pin is not None and pin.sha256 == sha256:
                kept.setdefault(name, entry)
        return listed if len(kept) == len(listed) else list(kept.values())

    def filter_others(self, upstream: str, kind: Kind, listed: list[Any]) -> list[Any]:
        """Return the prompts or resources that hide nothing, and those pinned as they are."""
        shelf = self._shelves.get(upstream)
        if shelf is None:
            return []
        if not shelf.pinning:
            return [entry for entry in listed if not entry_leaks(entry)]
        return [entry for entry in listed if self._passes(upstream, kind, entry)]

    def readable(self, upstream: str, kind: Kind, name: str) -> bool:
        """Tell whether a prompt or resource that was listed may be asked for; unknown ones may."""
        shelf = self._shelves.get(upstream)
        if shelf is None:
            return False
        item = shelf.seen.get((kind, name))
        return item is None or self._item_passes(upstream, item)

    def instructions_pass(self, upstream: str, text: str) -> bool:
        """Tell whether agents may be shown a server's `instructions`."""
        shelf = self._shelves.get(upstream)
        item = instructions_item(text)
        return shelf is not None and item is not None and self._item_passes(upstream, item)

    def note_seen(self, upstream: str, listed: list[Any]) -> None:
        """Learn from the tools of a list that passes by; asks for a listing when one is unknown."""
        shelf = self._shelves.get(upstream)
        if shelf is not None:
            self._learn_from(upstream, shelf, listed)

    # For whoever lists and reloads --------------------------------------------------------------

    def learn(self, upstream: str, listing: Listing) -> None:
        """Take in a whole listing: what it does not hold is gone."""
        shelf = self._shelves[upstream]
        before = (shelf.seen, shelf.listed, shelf.error, shelf.nameless)
        if set(shelf.seen) != set(listing.items):
            # Other definitions may speak of these names: they are read again when next asked for.
            self._known.clear()
            self._flags.clear()
        for text, sha256 in listing.spelled.items():
            self._digests.learn(text, sha256)
        shelf.seen, shelf.room = dict(listing.items), ROOM_TO_LEARN
        shelf.listed, shelf.error, shelf.nameless = True, None, listing.nameless
        for kind, name in listing.twice:
            # Of two definitions under one name, one is not the pinned one.
            if kind is Kind.TOOL and name in shelf.pins:
                self._mark_changed(upstream, shelf, name)
        shelf.leaking.keep(listing.items)
        for item in listing.items.values():
            shelf.leaking.note(item)
            if item.kind is Kind.TOOL:
                self._compare(upstream, shelf, item.name, item.sha256)
        if before != (shelf.seen, shelf.listed, shelf.error, shelf.nameless):
            self._moved()

    def failed(self, upstream: str, why: str) -> None:
        """Note that an upstream could not be listed; what was known of it stays."""
        self._shelves[upstream].error = why

    def refresh_pins(self) -> bool:
        """Take in pins that commands wrote; tells whether there were any. Raises as `Pins`."""
        if not self._pins.refresh():
            return False
        for name in self._shelves:
            self._take_pins(name)
        self._moved()
        self.marked()
        return True

    def marks(self) -> MarkTable:
        """Return which tools changed since they were pinned, for `store`."""
        found = self._marks.of_others(self._shelves, self._pins)
        for upstream, shelf in self._shelves.items():
            found |= {(upstream, tool): approval for tool, approval in shelf.changed.items()}
        return found

    def store(self, marks: MarkTable) -> None:
        """Write down marks; may be called in a thread. Raises StateWriteError."""
        self._marks.save(marks)

    # For people and the relay -------------------------------------------------------------------

    def state(self, upstream: str, tool: str) -> ToolState | None:
        """Return where a tool stands; None when it was neither listed nor pinned."""
        shelf = self._shelves.get(upstream)
        if shelf is None:
            return None
        pin, item = shelf.pins.get(tool), shelf.seen.get((Kind.TOOL, tool))
        if pin is None and item is None:
            return None
        if leaks(item.definition if item is not None else pin.definition if pin else ""):
            state = State.CREDENTIAL
        elif pin is None:
            state = State.NEW
        elif tool in shelf.changed:
            state = State.CHANGED
        elif item is None and shelf.listed:
            state = State.GONE
        else:
            state = State.PINNED
            if shelf.shows_another(pin):
                item = None  # seen before it was approved
        flags = self._flags_of(upstream, item) if item is not None else ()
        title = item.title if item is not None else ""
        sha256 = item.sha256 if item is not None else pin.sha256 if pin is not None else ""
        return ToolState(tool, pin.tool_class if pin else None, sha256, state, flags, title)

    def snapshot(self, upstream: str) -> list[ToolState]:
        """Return every tool that was listed or pinned, by name."""
        shelf = self._shelves.get(upstream)
        if shelf is None:
            return []
        seen = {name for kind, name in shelf.seen if kind is Kind.TOOL}
        names = sorted(seen | set(shelf.pins))
        return [each for name in names if (each := self.state(upstream, name)) is not None]

    def definition(self, upstream: str, kind: Kind, name: str) -> str:
        """Return the canonical text that was pinned, "" when nobody pinned it."""
        pin = self._pins.get(upstream, kind, name)
        return "" if pin is None else pin.definition

    def status(self, upstream: str) -> dict[str, Any]:
        """Return what `status` shows of an upstream."""
        shelf = self._shelves[upstream]
        tools = self.snapshot(upstream)
        by_state = {state: [t.name for t in tools if t.state is state] for state in State}
        others = [item for item in shelf.seen.values() if item.kind is not Kind.TOOL]
        held = [item for item in others if not self._item_passes(upstream, item)]
        facts: dict[str, Any] = {
            "pinning": "required" if shelf.pinning else PINNING_OFF,
            **{state.value: len(names) for state, names in by_state.items()},
            "flagged": sum(counts(tool.flags) for tool in tools),
            "held_back": len(held) + (shelf.nameless if shelf.pinning else 0),
            "listed": shelf.listed,
        }
        if by_state[State.CHANGED]:
            facts["changed_tools"] = by_state[State.CHANGED][:MAX_SHOWN]
        if by_state[State.CREDENTIAL]:
            facts["credential_tools"] = by_state[State.CREDENTIAL][:MAX_SHOWN]
        if shelf.error is not None:
            facts["listing_error"] = shelf.error
        return facts

    # Inside -------------------------------------------------------------------------------------

    def _take_pins(self, upstream: str) -> None:
        if self._shelves[upstream].take(self._pins.of(upstream, Kind.TOOL)):
            # What is listed now counts again, and not in five minutes only.
            self.wanted(upstream)

    def _learn_from(
        self, upstream: str, shelf: Shelf, listed: list[Any]
    ) -> list[tuple[str, str | None]]:
        """Compare a list with what is known; returns name and digest of each entry."""
        unknown = 0
        found: list[tuple[str, str | None]] = []
        for entry in listed:
            name = name_of(Kind.TOOL, entry) or ""
            known, pin = shelf.seen.get((Kind.TOOL, name)), shelf.pins.get(name)
            if not name or (known is None and pin is None and unknown >= LEARNED_AT_ONCE):
                found.append(("", None))
                continue
            longest = LONGEST_LEARNED if pin is None else LONGER_AT_MOST * len(pin.definition)
            sha256 = self._digests.of(entry, longest)
            found.append((name, sha256))
            if known is None or known.sha256 != sha256:
                unknown += 1
                self._see(upstream, shelf, name, entry, sha256)
            else:
                self._compare(upstream, shelf, name, sha256)
        if unknown:
            self.wanted(upstream)
        return found

    def _see(
        self, upstream: str, shelf: Shelf, name: str, entry: object, sha256: str | None
    ) -> None:
        """Keep what was not known, as far as there is room: a server can make up names for ever."""
        self._compare(upstream, shelf, name, sha256)
        known = shelf.seen.get((Kind.TOOL, name))
        item = item_of(Kind.TOOL, entry) if sha256 is not None else None
        if item is not None:
            shelf.leaking.note(item)
        if item is None or (known is None and len(shelf.seen) >= MAX_ITEMS):
            return
        if len(item.definition) <= LONGEST_LEARNED and shelf.room >= len(item.definition):
            shelf.room -= len(item.definition)
            shelf.seen[Kind.TOOL, name] = item
            self._moved()

    def _compare(self, upstream: str, shelf: Shelf, name: str, sha256: str | None) -> None:
        pin = shelf.callable.get(name)
        if pin is not None and pin.sha256 != sha256:
            self._mark_changed(upstream, shelf, name)

    def _mark_changed(self, upstream: str, shelf: Shelf, name: str) -> None:
        if name in shelf.changed:
            return
        shelf.changed[name] = shelf.pins[name].approval
        shelf.callable.pop(name, None)
        events.note("tool.changed", upstream=upstream, tool=name, pinned=shelf.pins[name].sha256)
        log.warning("tool changed: not callable until pinned again", upstream=upstream, tool=name)
        self._moved()
        self.marked()

    def _passes(self, upstream: str, kind: Kind, entry: object) -> bool:
        item = item_of(kind, entry)
        return item is not None and self._item_passes(upstream, item)

    def _item_passes(self, upstream: str, item: Item) -> bool:
        shelf = self._shelves[upstream]
        shelf.leaking.note(item)
        if item.leaks or not shelf.pinning:
            return not item.leaks
        pin = self._pins.get(upstream, item.kind, item.name)
        if pin is not None:
            return pin.sha256 == item.sha256
        return not hides(self._flags_of(upstream, item))

    def _flags_of(self, upstream: str, item: Item) -> tuple[Flag, ...]:
        """Scan once for each definition; names that came to be known later are not looked for."""
        key = (upstream, item.sha256)
        found = self._flags.get(key)
        if found is None:
            if len(self._flags) >= MAX_VERDICTS:
                self._flags.clear()
            found = self._flags[key] = scan(item, self._known_to(upstream))
        return found

    def _known_to(self, upstream: str) -> Known:
        known = self._known.get(upstream)
        if known is None:
            known = self._known[upstream] = known_to(upstream, self._names())
        return known

    def _names(self) -> Mapping[str, set[str]]:
        return {
            where: {name for kind, name in shelf.seen if kind is Kind.TOOL} | set(shelf.pins)
            for where, shelf in self._shelves.items()
        }

    def _moved(self) -> None:
        self.version += 1
