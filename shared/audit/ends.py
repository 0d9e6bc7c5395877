"""What a closed segment ends with, kept beside it: a start reads the last segments only.

It is believed as far as a checkpoint of our own key vouches for it; `verify` does not read it.
"""

import contextlib
import json
import re
from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

from shared.audit.private import AuditError, read_private, write_private
from shared.audit.segments import Segment, lines, segment_name
from shared.audit.tombstones import facts_of, start_of
from shared.record.chain import RECORD_AT
from shared.record.checkpoint import CheckpointError, read_note
from shared.record.model import COMPLETION, INTENT, RecordError, parse
from shared.record.tree import Tree, TreeError
from shared.record.verify import Start

MAX_OPEN = 10_000
"""Calls that are under way when a segment is closed; of more the oldest are kept."""
_SPELLED = re.compile(
    rb'\{(?:"bytes":\d+,CALL,"delivery":"[a-z_]+","intent":\d+,"kind":"call\.completion"'
    rb'|(?:"arguments":\{[^{}]*\},)?"body":"[0-9a-f]{64}",CALL,"kind":"call\.intent","seq":(\d+)'
    rb'),"'.replace(b"CALL", rb'"call":"([0-9a-z.]{1,64})"')
)
"""How most records of calls begin: nothing before the kind holds an object of its own but the
arguments, and those that are matched hold none. So what is matched is said by the record itself:
the call that ends; or the one that begins, and its number."""
_KINDS = tuple(b'"kind":"%b"' % kind.encode() for kind in (INTENT, COMPLETION))
"""A record without either is no call's; one with it may quote it, and is parsed."""


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
    sound = sound and all(0 <= seq < start.size for seq in calls.values())
    if not sound or point.size != start.size or point.root != root:
        return None
    return End(start, facts["note"], calls)


def end_path(folder: Path, first: int) -> Path:
    """Return where it is kept how a segment ends."""
    return folder / segment_name(first).replace(".jsonl", ".end")


def open_after(path: Path, before: Mapping[str, int]) -> dict[str, int]:
    """Return the calls under way at the end of a segment; raises AuditError."""
    calls = dict(before)
    note_calls(lines(path), calls)
    return calls


def note_calls(found: Iterable[bytes], calls: dict[str, int]) -> None:
    """Follow calls through lines of a log, as their records say themselves.

    What a record quotes can look like another record: what an auditor asked for, and an agent's
    arguments in clear.
    """
    for line in found:
        spelled = _SPELLED.match(line, RECORD_AT)
        if spelled is None:
            if any(each in line for each in _KINDS):
                _note(line[RECORD_AT:-2], calls)
        elif spelled[1] is not None:
            calls.pop(spelled[1].decode(), None)
        else:
            calls[spelled[2].decode()] = int(spelled[3])


def _note(record: bytes, calls: dict[str, int]) -> None:
    try:
        facts = parse(record)
    except RecordError:
        return
    call = facts.get("call")
    if not isinstance(call, str):
        return
    if facts["kind"] == INTENT:
        calls[call] = facts["seq"]
    elif facts["kind"] == COMPLETION:
        calls.pop(call, None)


def begun(parts: Sequence[Segment], calls: Mapping[str, int], size: int) -> dict[str, int]:
    """Return calls without those whose record, one below `size`, is there and is not their intent.

    Nothing vouches for the calls that an end names, and one that is ended without an intent makes
    a log look doctored for ever. What was removed or cannot be read is kept: who has the intent
    elsewhere misses its end.
    """
    firsts = [part.first for part in parts]
    sought: dict[int, dict[str, int]] = {}
    for call, seq in calls.items():
        at = bisect_right(firsts, seq) - 1
        if at >= 0 and seq < size:
            sought.setdefault(at, {})[call] = seq
    odd = {call for at, some in sought.items() for call in _never_begun(parts[at], some)}
    return {call: seq for call, seq in calls.items() if call not in odd}


def _never_begun(part: Segment, calls: Mapping[str, int]) -> list[str]:
    wanted, seen, there = set(calls.values()), set[int](), dict[str, int]()
    with contextlib.suppress(AuditError):
        last = max(wanted) - part.first + 1
        for seq, line in enumerate(islice(lines(part.path), last), part.first):
            if seq in wanted:
                seen.add(seq)
                note_calls([line], there)
    return [call for call, seq in calls.items() if seq in seen and there.get(call) != seq]
