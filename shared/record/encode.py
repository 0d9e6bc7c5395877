"""Spells records: canonical JSON, made of bytes that are kept.

Who calls, what is called and why it may be are the same for many calls: each is spelled once
(`fragment`, `said`). The names of the members are in canonical order, so what is written for each
call is one `%`. A test holds every spelling to `shared.jsonrpc.canonical`.
"""

from collections.abc import Mapping
from typing import Any

from shared.jsonrpc.canonical import canonical, exact
from shared.record.model import GAP, MAX_RECORD, VERSION
from shared.record.redact import REST

NOTHING = b"{}"
INTENT = (
    b'{%b"arguments":%b,"body":"%b","call":"%b","kind":"call.intent","seq":%d,"time":%d,%b"v":1,%b}'
)
"""For who writes many: what `intent` fills in."""
COMPLETION = (
    b'{"bytes":%d,"call":"%b","delivery":"%b","intent":%d,"kind":"call.completion","result":"%b",'
    b'"scrub_hits":%d,"seq":%d,"status":%d,"time":%d,"us":%d,"v":1}'
)
"""The same for `completion`."""

_KEPT = ("call", "intent", "kind", "seq", "time", "v")
"""What a record says however long the rest of it is."""


def said(what: Mapping[str, Any], who: Mapping[str, Any], why: Mapping[str, Any]) -> bytes:
    """Return the members that repeat, as they end an intent; kept for a session and tool."""
    return b'"what":%b,"who":%b,"why":%b' % (canonical(what), canonical(who), canonical(why))


def before(approval: Mapping[str, Any]) -> bytes:
    """Return the member of an intent that comes first: the approval that let a call pass."""
    return b'"approval":%b,' % canonical(approval)


def traced(trace: str) -> bytes:
    """Return the member of an intent that names a trace; `trace` is hex digits."""
    return b'"trace":"%b",' % trace.encode()


def intent(
    call: bytes,
    seq: int,
    now: int,
    arguments: bytes,
    body: bytes,
    said: bytes,
    *,
    approval: bytes = b"",
    trace: bytes = b"",
) -> bytes:
    """Return the record of a call that is about to be dispatched.

    `call` and `body` are spelled without quotes and hold nothing to escape; the rest is what
    `Redactor.arguments`, `said`, `before` and `traced` returned. `now`: microseconds since 1970.
    """
    return INTENT % (approval, arguments, body, call, seq, now, trace, said)


def completion(
    call: bytes,
    seq: int,
    now: int,
    intent: int,
    result: bytes,
    delivery: bytes,
    status: int,
    size: int,
    us: int,
    scrub_hits: int = 0,
) -> bytes:
    """Return the record of a call that is over."""
    return COMPLETION % (
        *(size, call, delivery, intent, result),
        *(scrub_hits, seq, status, now, us),
    )


def event(kind: str, facts: Mapping[str, Any], seq: int, now: int) -> bytes:
    """Return any other record, slowly; raises ValueError for what is no JSON."""
    return canonical({**facts, "kind": kind, "seq": seq, "time": now, "v": VERSION})


def shorten(records: list[bytes], size: int, now: int) -> int:
    """Make records short that nobody would read; returns how many bytes that saved.

    `size`: the number of the record that comes behind the last one. For a reader a line that is too
    long is none, and a start would take it, and all behind it, for what a killed writer left torn.
    """
    saved = 0
    for at, record in enumerate(records):
        if len(record) > MAX_RECORD:
            records[at] = _shortened(record, size - len(records) + at, now)
            saved += len(record) - len(records[at])
    return saved


def _shortened(record: bytes, seq: int, now: int) -> bytes:
    """Return a record whose longest members are their lengths, as large arguments are."""
    try:
        facts = exact(record)
    except ValueError:  # so deep that no reader would follow
        return event(GAP, {"lost": 1, "why": "a record was too long"}, seq, now)
    over = len(record) - MAX_RECORD
    sizes = {name: len(canonical(value)) for name, value in facts.items() if name not in _KEPT}
    for name in sorted(sizes, key=sizes.__getitem__, reverse=True):
        if over <= 0:
            break
        facts[name] = {REST: {"bytes": sizes[name]}}
        over -= sizes[name] - len(canonical(facts[name]))
    short = canonical(facts)
    if len(short) <= MAX_RECORD:
        return short
    return canonical({name: facts[name] for name in _KEPT if name in facts})
