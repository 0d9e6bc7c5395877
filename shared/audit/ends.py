"""What a closed segment ends with, kept beside it: a start reads the last segments only.

It is believed as far as a checkpoint of our own key vouches for it; `verify` does not read it.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from shared.audit.private import AuditError, read_private, write_private
from shared.audit.segments import lines, segment_name
from shared.audit.tombstones import facts_of, start_of
from shared.record.checkpoint import CheckpointError, read_note
from shared.record.tree import Tree, TreeError
from shared.record.verify import Start

MAX_OPEN = 10_000
"""Calls that are under way when a segment is closed; of more the oldest are kept."""
_CHUNK = 64 * 1024
"""Bytes looked at in one go: a thread that looks holds up the others no longer."""
_CALL = re.compile(
    rb'"call":"([^"\\]{1,128})",(?:"(?:closed_by|delivery)":"[^"\\]*",)*'
    rb'(?:"intent":\d+,)?"kind":"call\.(intent|completion)",[^\n]*?"seq":(\d+)'
)


@dataclass(frozen=True, slots=True)
class End:
    """Where a segment ends: `start` is what the next one begins with."""

    start: Start = field(default_factory=Start)
    note: str = ""
    open_calls: Mapping[str, int] = field(default_factory=dict)
    """Calls under way, and their intents."""


def write_end(folder: Path, first: int, end: End) -> None:
    """Keep how the segment that begins with `first` ends; raises AuditError."""
    calls = dict(list(end.open_calls.items())[:MAX_OPEN])
    facts = {**facts_of(end.start), "note": end.note, "open": calls}
    write_private(end_path(folder, first), json.dumps(facts, sort_keys=True).encode() + b"\n")


def read_end(folder: Path, first: int, public: bytes) -> End | None:
    """Return how a segment ends; None when it does not say, or nothing of ours vouches for it."""
    try:
        facts = json.loads(read_private(end_path(folder, first)))
        start = start_of(facts)
        point = read_note(facts["note"], public)
        root = Tree(start.size, start.edge).root()
        calls = facts["open"]
    except (OSError, AuditError, CheckpointError, TreeError):
        return None
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None
    sound = isinstance(calls, dict) and all(type(seq) is int for seq in calls.values())
    if not sound or point.size != start.size or point.root != root:
        return None
    return End(start, facts["note"], calls)


def end_path(folder: Path, first: int) -> Path:
    """Return where it is kept how a segment ends."""
    return folder / segment_name(first).replace(".jsonl", ".end")


def open_after(path: Path, before: Mapping[str, int]) -> dict[str, int]:
    """Return the calls under way at the end of a segment; raises AuditError."""
    calls = dict(before)
    held: list[bytes] = []
    size = 0
    for line in lines(path):
        held.append(line)
        size += len(line)
        if size >= _CHUNK:
            note_calls(b"".join(held), calls)
            held, size = [], 0
    note_calls(b"".join(held), calls)
    return calls


def note_calls(text: bytes, calls: dict[str, int]) -> None:
    """Follow calls through lines of a log, as our own writer spells them."""
    for call, kind, seq in _CALL.findall(text):
        name = call.decode()
        if kind == b"intent":
            calls[name] = int(seq)
        else:
            calls.pop(name, None)
