"""OCSF 1.8.0, API Activity (class 6003). What the schema has no word for stands in `unmapped`.

Source: schema.ocsf.io/1.8.0/classes/api_activity.
"""

from typing import Any

from shared.record.export.joined import Event, Origin
from shared.record.export.words import (
    FAILURE,
    SUCCESS,
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

VERSION = "1.8.0"
CLASS, CATEGORY = 6003, 6
CREATE, READ, UPDATE, OTHER = 1, 2, 3, 99
_ACTIVITY = {"read": READ, "draft": UPDATE, "write": UPDATE, "external_send": CREATE}
_NAMES = {CREATE: "Create", READ: "Read", UPDATE: "Update"}
_SEVERITY = {1: "Informational", 2: "Low", 3: "Medium", 4: "High"}
_STATUS = {SUCCESS: (1, "Success"), FAILURE: (2, "Failure")}


def ocsf(event: Event, origin: Origin) -> dict[str, Any]:
    """Return a record as an event of the schema."""
    record, what = event.record, event.what
    activity = _activity(event)
    status, status_name = _STATUS.get(outcome(event), (0, "Unknown"))
    level = severity(event)
    facts = {
        "activity_id": activity,
        "activity_name": _NAMES.get(activity, what.tool_class or record.kind),
        "actor": _actor(event, origin),
        "api": _api(event),
        "category_name": "Application Activity",
        "category_uid": CATEGORY,
        "class_name": "API Activity",
        "class_uid": CLASS,
        "message": said(event),
        "metadata": _metadata(event, origin),
        "resources": [{"name": what.server, "type": "MCP server"}] if what.server else [],
        "severity": _SEVERITY[level],
        "severity_id": level,
        "src_endpoint": _source(event, origin),
        "status": status_name,
        "status_detail": record.reason,
        "status_id": status,
        "time": record.time // 1000,
        "trace": {"uid": event.trace} if event.trace else {},
        "type_uid": CLASS * 100 + activity,
        "unmapped": _unmapped(event),
    }
    if count := times(event):
        facts["count"] = count
    if counted := interval(event):
        facts["start_time"], facts["end_time"] = (each // 1000 for each in counted)
    if record.us:
        facts["duration"] = record.us // 1000
    if record.status:
        facts["http_response"] = {"code": record.status}
    if what.http:
        facts["http_request"] = {"http_method": what.http}
    return without_empty(facts)


def _activity(event: Event) -> int:
    if not event.is_call:
        return OTHER
    if event.what.tool_class:
        return _ACTIVITY.get(event.what.tool_class, OTHER)
    return OTHER if event.what.method in ("", "tools/call") else READ


def _actor(event: Event, origin: Origin) -> dict[str, Any]:
    who, name = event.who, user(event)
    if name != who.user:
        # Somebody else's call or session: the agent and the session are not theirs.
        return {"app_name": origin.program, "user": {"name": name}}
    return without_empty(
        {
            "app_name": who.agent or origin.program,
            "session": {"uid": who.session} if who.session else {},
            "user": {"name": name} if name else {},
        }
    )


def _api(event: Event) -> dict[str, Any]:
    record, what = event.record, event.what
    return without_empty(
        {
            "operation": what.name or what.method or record.kind,
            "request": without_empty({"uid": event.request or record.call}),
            "response": {"message": record.result} if record.result else {},
            "service": {"name": what.server} if what.server else {},
        }
    )


def _source(event: Event, origin: Origin) -> dict[str, Any]:
    # The client does not know where an agent calls from: the relay does.
    return {"ip": event.source} if event.source else {"name": event.who.agent or origin.host}


def _metadata(event: Event, origin: Origin) -> dict[str, Any]:
    record = event.record
    return without_empty(
        {
            "correlation_uid": record.call,
            "event_code": record.kind,
            "log_name": origin.log,
            "original_time": iso(record.time),
            "product": {
                "name": origin.program,
                "vendor_name": "mcp-tunnel",
                "version": origin.version,
            },
            "profiles": ["trace"] if event.trace else [],
            "sequence": record.seq,
            "uid": number(event, origin.log),
            "version": VERSION,
        }
    )


def _unmapped(event: Event) -> dict[str, Any]:
    record, what, why, who = event.record, event.what, event.why, event.who
    given, others = approval(event), user(event) != who.user
    return without_empty(
        {
            "agent": who.agent if others else "",
            "approval": given.get("id"),
            "approver_keys": given.get("keys"),
            "approvers": given.get("approvers"),
            "arguments": dict(record.arguments),
            "bytes": record.bytes,
            "claimed": who.claimed,
            "class": what.tool_class,
            "closed_by": record.closed_by,
            "decided_by": why.by,
            "decision": why.decision,
            "definition": what.definition,
            "delivery": record.delivery,
            "facts": dict(record.facts),
            "hash": event.hash,
            "intent": record.intent,
            "method": what.method,
            "parent_span": event.parent,
            "policy": why.policy,
            "rule": why.rule,
            "scrub_hits": record.scrub_hits,
            "session": who.session if others else "",
            "target": target(event),
            "tunnel": what.tunnel,
        }
    )
