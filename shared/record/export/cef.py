r"""CEF, version 0 of the header: what would end a field or a line is escaped (attack A01).

In the header the vertical bar and the backslash, in the extension the equals sign, the backslash
and line ends. What else breaks lines or hides (U+2028, control characters) is written `\u{...}`.
What CEF has no field for is JSON in `msg`, by the names of the record.
"""

import json
from collections.abc import Iterator
from typing import Any

from shared.escape import escaped
from shared.record.export.joined import Event, Origin
from shared.record.export.words import (
    approval,
    finite,
    interval,
    number,
    outcome,
    said,
    severity,
    target,
    times,
    user,
    without_empty,
)

MAX_VALUE = 1000
"""Characters of a value: what most fields of the receivers hold."""
_LEVEL = {1: 2, 2: 5, 3: 7, 4: 9}
_LABELLED = ("tool", "server", "class", "agent", "session", "rule")
"""The six texts that CEF leaves to the sender."""


def cef(event: Event, origin: Origin) -> bytes:
    """Return a record as one line of CEF, without its end."""
    record = event.record
    head = (
        *("CEF:0", "mcp-tunnel", origin.program, origin.version, record.kind),
        *(said(event), str(_LEVEL[severity(event)])),
    )
    fields = " ".join(f"{key}={_value(value)}" for key, value in _fields(event, origin) if value)
    return f"{'|'.join(map(_header, head))}|{fields}".encode("utf-8", "replace")


def _fields(event: Event, origin: Origin) -> Iterator[tuple[str, str]]:
    record, what, why, who = event.record, event.what, event.why, event.who
    yield "rt", str(record.time // 1000)
    yield "externalId", number(event, origin.log)
    yield from _counted(event)
    yield "dvchost", origin.host
    yield "act", why.decision
    yield "outcome", outcome(event)
    yield "reason", record.reason
    yield "suser", user(event)
    yield "duser", target(event)
    yield "shost" if _is_name(event.source) else "src", event.source
    yield "requestMethod", what.http
    yield "requestClientApplication", who.claimed
    yield "deviceAction", why.by
    yield "app", what.method
    yield "out", str(record.bytes or "")
    given = (what.name, what.server, what.tool_class, who.agent, who.session, why.rule)
    for at, (label, value) in enumerate(zip(_LABELLED, given, strict=True), 1):
        if value:
            yield f"cs{at}Label", label
            yield f"cs{at}", value
    for at, (label, count) in enumerate((("status", record.status), ("us", record.us)), 1):
        if count:
            yield f"cn{at}Label", label
            yield f"cn{at}", str(count)
    yield "flexString1Label", "call" if record.call else ""
    yield "flexString1", record.call
    yield "flexString2Label", "hash" if event.hash else ""
    yield "flexString2", event.hash
    rest = _rest(event)
    yield "msg", json.dumps(finite(rest)) if rest else ""


def _counted(event: Event) -> Iterator[tuple[str, str]]:
    if count := times(event):
        yield "cnt", str(count)
    if found := interval(event):
        yield from zip(("start", "end"), (str(each // 1000) for each in found), strict=True)


def _rest(event: Event) -> dict[str, Any]:
    """Return what has no field, the longest and the least asked for last: it is cut there."""
    record, what = event.record, event.what
    details = {
        "closed_by": record.closed_by,
        "delivery": record.delivery,
        "intent": record.intent,
        "request": event.request,
        "result": record.result,
        "scrub_hits": record.scrub_hits or None,
        "trace": "-".join(each for each in (event.trace, event.parent) if each),
        "what": without_empty({"definition": what.definition, "tunnel": what.tunnel}),
        "why": without_empty({"policy": event.why.policy}),
        "arguments": dict(record.arguments),
    }
    first = without_empty({"approval": approval(event)})
    return {**first, **record.facts, **without_empty(details)}


def _is_name(source: str) -> bool:
    return not all(each in "0123456789abcdefABCDEF.:" for each in source)


def _header(text: str) -> str:
    shown = escaped(text[:MAX_VALUE]).replace("\n", " ").replace("\t", " ")
    return shown.replace("\\", "\\\\").replace("|", "\\|")


def _value(text: str) -> str:
    shown = escaped(text[:MAX_VALUE]).replace("\\", "\\\\").replace("=", "\\=")
    return shown.replace("\n", "\\n").replace("\t", " ").strip(" ") or "-"
