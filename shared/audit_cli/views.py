"""Shows records to people, so that nothing in them moves the cursor or passes for another line."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from shared.audit.replay import Replayed
from shared.escape import one_line
from shared.record.differences import UNCOMPARED, Reconciled
from shared.record.model import user_text
from shared.record.timeline import Entry

MAX_ROW = 400
_APART = frozenset(("seq", "time", "kind", "v", "who", "what", "why", "arguments", "body"))


def moment(microseconds: int) -> str:
    """Write a time of a record."""
    try:
        when = datetime.fromtimestamp(microseconds / 1e6, UTC)
    except (OverflowError, OSError, ValueError):
        return str(microseconds)
    return f"{when:%Y-%m-%dT%H:%M:%S.%fZ}"


def row(record: Mapping[str, Any]) -> str:
    """Return a record as one line, whatever somebody wrote into it (A02)."""
    who, what, why = (_part(record, name) for name in ("who", "what", "why"))
    said = [f"{user_text(who.get('user')) or '-'} by {who.get('agent', '-')}"] if who else []
    if what:
        named = (what.get("server"), what.get("name") or what.get("method"))
        said.append("/".join(str(each) for each in named if each))
    if why:
        said.append(_decided(why.get("decision"), why.get("rule") or why.get("by")))
    said += (f"{key}={record[key]}" for key in sorted(record) if key not in _APART)
    text = f"{record.get('seq'):>8} {moment(record.get('time', 0))} {record.get('kind')}  "
    return one_line(text + "  ".join(said), MAX_ROW)


def timeline(found: Replayed) -> str:
    """Return a session as it went, a line for each step."""
    head = [one_line(f"session {found.session}", MAX_ROW)]
    for entry in found.entries[:1]:
        head.append(one_line(f"  {entry.user or '-'} by {entry.agent or '-'}", MAX_ROW))
    return "\n".join([*head, *map(_step, found.entries)])


def _step(entry: Entry) -> str:
    said = [f"{moment(entry.time)} {entry.seq:>8} ", f"{entry.title:<40}"]
    if entry.is_call:
        ground = None if entry.ground == "-" else entry.ground
        said += [f"{entry.tool_class or '-':<13}", _decided(entry.decision or "-", ground)]
    if entry.approval:
        said.append(f"approval {entry.approval}")
        if entry.approvers:
            said.append(f"by {', '.join(entry.approvers)}")
    if entry.is_call:
        said.append(f"-> {entry.outcome}")
        if entry.us is not None:
            said.append(f"{entry.us / 1000:.1f} ms")
    elif entry.reason:
        said.append(f"reason: {entry.reason}")
    said += (f"{name}={_value(name, value)}" for name, value in entry.more.items())
    return one_line("  ".join(said), MAX_ROW)


def _decided(decision: object, ground: object) -> str:
    return f"{decision} ({ground})" if ground else f"{decision}"


def _value(name: str, value: object) -> object:
    # The only times in records that are whole seconds.
    return moment(value * 1_000_000) if name == "expires" and isinstance(value, int) else value


def differences(found: Reconciled, *, sound: bool = True) -> str:
    """Return what two logs say differently, as a table with a verdict.

    `sound`: each log by itself is what was written.
    """
    heard = ", ".join(f"{name}: {calls}" for name, calls in found.clients.items())
    lines = [f"calls: {found.relay} sent by the relay; {heard}; {found.matched} agree"]
    if found.findings:
        lines.append(f"{'':5} {'what':<24} {'call':<28} {'relay':>9} {'client':>9}  more")
    for each in found.findings:
        numbers = ("-" if seq is None else str(seq) for seq in (each.relay, each.client))
        relay, client = numbers
        more = each.said + (f" ({each.calls} calls)" if each.calls > 1 else "")
        grave = "GRAVE" if each.grave else ""
        lines.append(f"{grave:5} {each.kind:<24} {each.call:<28} {relay:>9} {client:>9}  {more}")
    told = sum(each.calls for each in found.findings)
    if (total := sum(found.kinds.values())) > told:
        lines.append(f"and {total - told} more")
    if found.hurried:
        lines.append(f"{found.hurried} calls were decided before the other log had said all")
    lines.append(_verdict(found, sound=sound))
    return "\n".join(one_line(line, MAX_ROW) for line in lines)


def _verdict(found: Reconciled, *, sound: bool) -> str:
    """Return the last line, which says no more than was compared."""
    said = []
    if not found.ok:
        said.append(f"NOT ACCOUNTED FOR: {found.grave}")
    elif not sound:
        said.append("NOT PROVEN: a log by itself is not, see above")
    elif found.uncompared:
        said.append(f"{found.matched} calls agree")
    if found.uncompared:
        why = ", ".join(f"{found.kinds[kind]} {kind}" for kind in UNCOMPARED if found.kinds[kind])
        said.append(f"{found.uncompared} could not be compared: {why}")
    return "; ".join(said) or "ok: every call is accounted for"


def _part(record: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    found = record.get(name)
    return found if isinstance(found, Mapping) else {}
