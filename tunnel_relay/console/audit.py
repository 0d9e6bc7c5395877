"""Pages of the log: found among many, one record with all that may be seen, a session as it went.

The list shows nothing that is for auditors only. A record and a session show it to auditors, and
that is written down.
"""

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlencode

from starlette.responses import Response

from shared.escape import one_line
from shared.policy.classes import IN_ORDER
from shared.record.model import Result, user_text
from tunnel_relay.console.paging import PAGE
from tunnel_relay.console.texts import part_of
from tunnel_relay.console.visit import Visit
from tunnel_relay.errors import Code, RelayError
from tunnel_relay.store.base import Role
from tunnel_relay.web.pages import headers

WORDS = (
    *("user", "agent", "session", "server", "tool", "tool_class", "decision", "result"),
    *("kind", "call"),
)
TIMES = ("since", "until")
KINDS = (
    *("call.", "call.intent", "call.completion", "call.refused", "admin.", "approval."),
    *("audit.", "audit.viewed", "session.", "link.", "login."),
)
MAX_FAULT = 400
DECISIONS = ("allow", "deny", "require_approval")


async def audit(visit: Visit) -> Response:
    """Search the log, the newest first."""
    wanted = {name: visit.query(name).strip() for name in (*WORDS, *TIMES)}
    given: dict[str, Any] = {name: wanted[name] or None for name in WORDS}
    times = {name: _seconds(wanted[name]) for name in TIMES}
    before = _number(visit.query("before"))
    found = await visit.run("audit_query", **given, **times, before=before, limit=PAGE)
    kept = {name: value for name, value in wanted.items() if value}
    here = "/audit?" + urlencode(kept)
    older = found["cursor"] and "/audit?" + urlencode({**kept, "before": found["cursor"]})
    return visit.show(
        "audit.html",
        rows=[_row(each) for each in found["records"]],
        wanted=wanted,
        kinds=KINDS,
        classes=[each.value for each in IN_ORDER],
        decisions=DECISIONS,
        outcomes=[each.value for each in Result],
        state=await visit.run("audit_state"),
        newest=here if before is not None else None,
        older=older,
    )


async def record(visit: Visit) -> Response:
    """Show one record."""
    number = visit.request.path_params["seq"]
    sees = Role.AUDITOR in visit.roles
    found = await visit.run("audit_show", seq=number, sensitive=sees)
    text = json.dumps(found["record"], ensure_ascii=False)
    return await visit.show_much(
        "audit_record.html",
        row=_row(found["record"]),
        others=found["others"],
        whole=await part_of(visit, f"/audit/records/{number}", "part", text),
        sees=sees,
    )


async def session(visit: Visit) -> Response:
    """Show a session as it went."""
    which, sees = visit.request.path_params["session"], Role.AUDITOR in visit.roles
    after = _number(visit.query("after"))
    found = await visit.run("audit_replay", session=which, after=after, sensitive=sees)
    here = f"/audit/sessions/{found['session']}"
    return visit.show(
        "audit_session.html",
        session=found["session"],
        steps=[_step(each) for each in found["entries"]],
        first=here if after is not None else None,
        later=found["cursor"] and f"{here}?after={found['cursor']}",
        sees=sees,
    )


async def verify(visit: Visit) -> Response:
    """Verify the whole log, and say what came of it."""
    report = await visit.run("audit_verify")
    if report["ok"]:
        visit.tell(f"Verified: {report['records']} records are what was written.")
    elif report["fault"] is None:
        visit.tell(f"NOT PROVEN: {report['unproven']}", "bad")
    else:
        visit.tell(f"BROKEN at {one_line(report['fault'], MAX_FAULT)}", "bad")
    return visit.go("/audit")


async def checkpoint(visit: Visit) -> Response:
    """Hand out the newest signed checkpoint, to be kept elsewhere."""
    found = await visit.run("audit_checkpoint")
    name = {"Content-Disposition": 'attachment; filename="checkpoint.txt"'}
    return Response(found["checkpoint"], 200, headers() | name, "text/plain; charset=utf-8")


def _row(record: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a line of the list shows of a record."""
    who, what, why = (_part(record, name) for name in ("who", "what", "why"))
    name = what.get("name") or what.get("method") or what.get("http") or record.get("tool")
    called = "/".join(str(part) for part in (what.get("server"), name) if part)
    session = who.get("session") or record.get("session")
    return {
        "seq": record["seq"],
        "at": _at(record),
        "kind": str(record["kind"]),
        "user": user_text(who.get("user", record.get("user"))) or _text(record.get("by")),
        "agent": _text(who.get("agent", record.get("agent"))),
        "session": _text(session),
        "called": called or _text(record.get("command")) or _text(record.get("upstream")),
        "class": _text(what.get("class")),
        "decision": _text(why.get("decision")),
        "result": _text(record.get("result")) or _text(record.get("outcome")),
        "call": _text(record.get("call")),
    }


def _step(entry: Mapping[str, Any]) -> dict[str, Any]:
    more = (f"{name}: {value}" for name, value in entry["more"].items())
    result = "refused" if entry["kind"] == "call.refused" else entry["result"]
    return {
        **entry,
        "at": _at(entry),
        "is_call": entry["kind"].startswith("call."),
        "more": "; ".join(more),
        "result": result,
        "kind_of_end": "good" if result == "ok" else "off" if not result else "warn",
        "took": None if entry["us"] is None else f"{entry['us'] / 1000:.1f} ms",
    }


def _part(record: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    found = record.get(name)
    return found if isinstance(found, Mapping) else {}


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _at(record: Mapping[str, Any]) -> float:
    """Return the time in seconds; of what is no time the beginning of time."""
    at: float = record["time"] / 1e6
    return at if at < 1e11 else 0.0


def _seconds(text: str) -> float | None:
    """Read a time in UTC as browsers and people write it; raises RelayError."""
    if not text:
        return None
    try:
        when = datetime.fromisoformat(text)
    except ValueError:
        raise RelayError(Code.BAD_REQUEST, "a time is YYYY-MM-DD or YYYY-MM-DDTHH:MM") from None
    return (when if when.tzinfo else when.replace(tzinfo=UTC)).timestamp()


def _number(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 16 else None
