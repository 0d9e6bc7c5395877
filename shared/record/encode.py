"""Spells records: canonical JSON, made of bytes that are kept.

Who calls, what is called and why it may be are the same for many calls: each is spelled once
(`fragment`, `said`). The names of the members are in canonical order, so what is written for each
call is one `%`. A test holds every spelling to `shared.jsonrpc.canonical`.
"""

from collections.abc import Mapping
from typing import Any

from shared.jsonrpc.canonical import canonical
from shared.record.model import VERSION

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
