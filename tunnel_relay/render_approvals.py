"""Approvals for people at a terminal: nothing folded, nothing hidden, no escape of a terminal."""

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from tunnel_relay.approvals import shown
from tunnel_relay.render import facts, table, when

if TYPE_CHECKING:
    from tunnel_relay.approvals.signing import Shown


def approvals(listed: Sequence[dict[str, Any]]) -> str:
    """List requests."""
    rows = [
        (
            each["id"][:12],
            each["state"],
            shown.visible(each["tool"]),
            shown.visible(each["class"]),
            each["server"],
            shown.visible(each["user"]),
            shown.visible(each["agent"]),
            f"{len(each['approvals'])}/{each['count']}",
            when(approval_end(each)),
        )
        for each in listed
    ]
    columns = ("ID", "STATE", "TOOL", "CLASS", "SERVER", "USER", "AGENT", "HEARD", "ENDS")
    return table(columns, rows, "nothing waits for an approval")


def approval(found: dict[str, Any]) -> str:
    """Show one request, all of it."""
    pairs = [(key, shown.visible(found[key])) for key in ("id", "state", "tool", "class")]
    pairs += [(key, shown.visible(found[key])) for key in ("server", "user", "agent")]
    pairs += [("session", found["session"][:12]), ("rule", shown.visible(found["rule"]) or "-")]
    pairs += [("asked", when(found["created"])), ("ends", when(approval_end(found)))]
    pairs.append(("approvals", f"{len(found['approvals'])} of {found['count']}"))
    for each in found["approvals"]:
        signed = ", with a key" if each["signed"] else ""
        why = f": {each['reason']}" if each["reason"] else ""
        pairs.append(("", f"{shown.visible(each['user'])} {when(each['at'])}{signed}{why}"))
    asked = [f"group {name}" for name in found["groups"]] + list(found["users"])
    pairs.append(("may approve", shown.visible(", ".join(asked))))
    pairs.append(("signed by", found["signed_by"]))
    if found["decided"] is not None:
        who = shown.visible(found["decided_by"])
        pairs.append(("decided", f"{when(found['decided'])} by {who}"))
    if found["reason"]:
        pairs.append(("reason", found["reason"]))
    if found["consumed"] is not None:
        pairs.append(("used", when(found["consumed"])))
    if found["problem"]:
        pairs.append(("problem", shown.visible(found["problem"])))
    pairs += [(key, shown.visible(found[key])) for key in ("arguments", "definition", "policy")]
    return "\n\n".join((facts(pairs), _texts(found["text"], found["definition_text"])))


def approval_end(shown: dict[str, Any]) -> float | None:
    """Return when a request ended, or will; None for one that ended before its time."""
    if shown["state"] in ("pending", "approved"):
        return float(shown["expires"])
    known = {"consumed": shown["consumed"], "denied": shown["decided"]}
    ended = known.get(shown["state"], shown["expires"])
    return None if ended is None or ended > time.time() else float(ended)


def to_sign(what: "Shown") -> str:
    """Show what a key is about to sign: each line is taken from the very bytes that are signed."""
    permit = what.permit
    pairs = [(name, shown.visible(str(getattr(permit, name)))) for name in permit.__slots__]
    return "\n\n".join((facts(pairs), _texts(what.arguments, what.definition)))


def _texts(arguments: str | None, definition: str | None) -> str:
    parts = [text_of("arguments", arguments, "not kept any more")]
    parts.append(text_of("definition of the tool", definition, "not known to this relay"))
    return "\n\n".join(parts)


def text_of(name: str, text: str | None, nothing: str) -> str:
    """Lay out a JSON text, all of it; `nothing` says why there is none."""
    if text is None:
        return f"{name}: {nothing}"
    whole = shown.laid_out(text)
    head = f"{name}: {whole.bytes} bytes, {len(whole.lines)} lines"
    if whole.hidden:
        head += f", {whole.hidden} characters that cannot be seen, shown as escapes"
    lines = [
        "  " * (line.depth + 1) + line.text + (f"   <- {line.note}" if line.note else "")
        for line in whole.lines
    ]
    return "\n".join((head, *lines))
