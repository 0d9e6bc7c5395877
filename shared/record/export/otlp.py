"""Spans of calls as OTLP/HTTP has them in JSON, named by the MCP conventions of OpenTelemetry.

The span of a call begins with its intent and ends with its completion; a refused call is a span
without a length. Never arguments, results or a session's token: its public id only.
Source: opentelemetry.io/docs/specs/otlp (JSON: ids in hex, 64 bit numbers as text).
"""

from collections.abc import Iterable
from hashlib import sha256
from typing import Any

from shared.record.export.joined import Event, Origin
from shared.record.export.words import (
    FAILURE,
    SUCCESS,
    approval,
    outcome,
    times,
    user,
    without_empty,
)
from shared.record.model import COMPLETION, REFUSED

SERVER, CLIENT = 2, 3
"""Kinds of spans: the relay is called by agents, the client calls upstreams."""
_OK, _ERROR = 1, 2


def span(event: Event, origin: Origin) -> dict[str, Any] | None:
    """Return the span of a call that is over; None for every other record."""
    record, what = event.record, event.what
    if record.kind not in (COMPLETION, REFUSED):
        return None
    ended = record.time * 1000
    began = event.intent.time * 1000 if event.intent is not None else ended - record.us * 1000
    ended = max(began, ended)
    how = outcome(event)
    status: dict[str, Any] = {"code": _OK} if how == SUCCESS else {}
    if how == FAILURE:
        status = {"code": _ERROR, "message": record.result or record.reason}
    return without_empty(
        {
            # Sent again after a failure it is the same span, and both ends' spans of a call that
            # came in no trace are in one.
            "traceId": event.trace or sha256(b"trace " + _of(event, origin)).hexdigest()[:32],
            "spanId": sha256(f"{origin.log} {record.seq}".encode()).hexdigest()[:16],
            "parentSpanId": event.parent,
            "name": " ".join(each for each in (what.method, what.name) if each) or record.kind,
            "kind": kind_of(origin),
            "startTimeUnixNano": str(max(0, began)),
            "endTimeUnixNano": str(max(0, ended)),
            "attributes": listed(attributes_of(event)),
            "status": status,
        }
    )


def request(spans: Iterable[dict[str, Any]], origin: Origin) -> dict[str, Any]:
    """Return spans as the body of one request."""
    resource, scope = resource_of(origin)
    scoped = [{"scope": scope, "spans": list(spans)}]
    return {"resourceSpans": [{"resource": resource, "scopeSpans": scoped}]}


def kind_of(origin: Origin) -> int:
    """Return the kind of a program's spans."""
    return SERVER if origin.program == "tunnel-relay" else CLIENT


def resource_of(origin: Origin) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return who says something: the resource and the scope of a request."""
    resource = {
        "service.name": origin.program,
        "service.version": origin.version,
        "service.instance.id": origin.log,
        "host.name": origin.host,
    }
    return {"attributes": listed(resource)}, {"name": "mcp-tunnel", "version": origin.version}


def _of(event: Event, origin: Origin) -> bytes:
    # The relay's calls of no stream have ids of its own.
    return (event.record.call or f"{origin.log} {event.record.seq}").encode("utf-8", "replace")


Value = str | int | list[str]


def attributes_of(event: Event) -> dict[str, Value]:
    """Return what is said of a call, by the names of the conventions."""
    record, what, who, why = event.record, event.what, event.who, event.why
    tool = what.method == "tools/call"
    failed = outcome(event) == FAILURE
    given = approval(event)
    found: dict[str, Value] = {
        "mcp.method.name": what.method,
        "mcp.session.id": who.session,
        "gen_ai.operation.name": "execute_tool" if tool else "",
        "gen_ai.tool.name": what.name if tool else "",
        "gen_ai.prompt.name": what.name if what.method == "prompts/get" else "",
        "error.type": (record.result or "denied") if failed else "",
        "http.request.method": what.http,
        "http.response.body.size": record.bytes,
        "http.response.status_code": record.status,
        "enduser.id": user(event),
        "client.address": event.source,
        "mcp_tunnel.agent": who.agent,
        "mcp_tunnel.approval": given.get("id", ""),
        "mcp_tunnel.approver_keys": given.get("keys", []),
        "mcp_tunnel.approvers": given.get("approvers", []),
        "mcp_tunnel.call": record.call,
        "mcp_tunnel.claimed": who.claimed,
        "mcp_tunnel.class": what.tool_class,
        "mcp_tunnel.closed_by": record.closed_by,
        "mcp_tunnel.count": times(event),
        "mcp_tunnel.decided_by": why.by,
        "mcp_tunnel.decision": why.decision,
        "mcp_tunnel.definition": what.definition,
        "mcp_tunnel.delivery": record.delivery,
        "mcp_tunnel.kind": record.kind,
        "mcp_tunnel.policy": why.policy,
        "mcp_tunnel.reason": record.reason,
        "mcp_tunnel.request": event.request,
        "mcp_tunnel.result": record.result,
        "mcp_tunnel.rule": why.rule,
        "mcp_tunnel.scrub_hits": record.scrub_hits,
        "mcp_tunnel.server": what.server,
        "mcp_tunnel.tunnel": what.tunnel,
        "mcp_tunnel.record": record.seq,
    }
    return {name: value for name, value in found.items() if value}


def listed(values: dict[str, Any]) -> list[dict[str, Any]]:
    """Return attributes as OTLP lists them."""
    return [{"key": key, "value": _value(value)} for key, value in values.items()]


def _value(value: Value | bool) -> dict[str, Any]:
    if isinstance(value, list):
        return {"arrayValue": {"values": [_value(each) for each in value]}}
    if isinstance(value, bool):
        return {"boolValue": value}
    return {"stringValue": value} if isinstance(value, str) else {"intValue": str(value)}
