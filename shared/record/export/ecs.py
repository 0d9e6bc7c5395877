"""Elastic Common Schema 8.17: what it has no field for stands in `labels` and `mcp_tunnel`.

Source: elastic.co/docs/reference/ecs.
"""

from typing import Any

from shared.record.export.joined import Event, Origin
from shared.record.export.words import (
    approval,
    interval,
    iso,
    number,
    outcome,
    said,
    severity,
    target,
    times,
    user,
    without_empty,
)

VERSION = "8.17.0"
_CATEGORY = {
    "call": "api",
    "login": "authentication",
    "session": "session",
    "grant": "session",
    "child": "process",
    "link": "network",
    "enrolment": "iam",
    "approval": "iam",
    "lock": "iam",
}
"""By the first word of a kind; all others change or tell how things are set up."""


def ecs(event: Event, origin: Origin) -> dict[str, Any]:
    """Return a record as a document, nested as Elasticsearch takes it."""
    record, what, why, who = event.record, event.what, event.why, event.who
    return without_empty(
        {
            "@timestamp": iso(record.time),
            "ecs": {"version": VERSION},
            "event": _event(event, origin),
            "http": _http(event),
            "labels": without_empty(
                {
                    "agent": who.agent,
                    "call": record.call,
                    "claimed": who.claimed,
                    "class": what.tool_class,
                    "decision": why.decision,
                    "delivery": record.delivery,
                    "method": what.method,
                    "result": record.result,
                    "session": who.session,
                    "tool": what.name,
                    "tunnel": what.tunnel,
                }
            ),
            "mcp_tunnel": _own(event),
            "message": said(event),
            "related": _related(event),
            "observer": {"hostname": origin.host, "product": origin.program, "type": "gateway"},
            "rule": {"name": why.rule} if why.rule else {},
            "service": {"name": what.server} if what.server else {},
            # The field is an address there, and refuses a document where it is none.
            "client": {"address": event.source} if event.source else {},
            "trace": {"id": event.trace} if event.trace else {},
            "user": _user(event),
        }
    )


def _own(event: Event) -> dict[str, Any]:
    record = event.record
    return without_empty(
        {
            "approval": approval(event),
            "arguments": dict(record.arguments),
            "bytes": record.bytes,
            "closed_by": record.closed_by,
            "count": times(event) or None,
            "decided_by": event.why.by,
            "definition": event.what.definition,
            "facts": dict(record.facts),
            "intent": record.intent,
            "parent_span": event.parent,
            "policy": event.why.policy,
            "scrub_hits": record.scrub_hits,
        }
    )


def _user(event: Event) -> dict[str, Any]:
    whom = target(event)
    return without_empty({"name": user(event), "target": {"name": whom} if whom else {}})


def _related(event: Event) -> dict[str, Any]:
    found = dict.fromkeys((user(event), target(event), *event.approval.approvers))
    return without_empty({"user": [each for each in found if each]})


def _event(event: Event, origin: Origin) -> dict[str, Any]:
    record = event.record
    decided = {"allow": "allowed", "deny": "denied"}.get(event.why.decision)
    counted = interval(event)
    types = ["access", *([decided] if decided else [])] if event.is_call else ["info"]
    return without_empty(
        {
            "action": record.kind,
            "category": [_CATEGORY.get(record.kind.partition(".")[0], "configuration")],
            "dataset": "mcp_tunnel.audit",
            "duration": record.us * 1000 if record.us else None,
            "start": iso(counted[0]) if counted else None,
            "end": iso(counted[1]) if counted else None,
            "hash": event.hash,
            "id": number(event, origin.log),
            "kind": "event",
            "module": "mcp_tunnel",
            "outcome": outcome(event),
            "provider": origin.log,
            "reason": record.reason,
            "sequence": record.seq,
            "severity": severity(event),
            "type": types,
        }
    )


def _http(event: Event) -> dict[str, Any]:
    status, method = event.record.status, event.what.http
    return without_empty(
        {
            "request": without_empty({"id": event.request, "method": method}),
            "response": {"status_code": status} if status else {},
        }
    )
