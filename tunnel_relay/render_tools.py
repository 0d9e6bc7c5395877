"""Tools for people at a terminal: what servers wrote is shown without a hidden character."""

import difflib
from collections.abc import Sequence
from typing import Any

from tunnel_relay.approvals import shown
from tunnel_relay.render import facts, table
from tunnel_relay.render_approvals import text_of

MAX_CELL = 60


def tools(listed: Sequence[dict[str, Any]]) -> str:
    """List tools; where clients differ, a line for each of them follows."""
    rows: list[tuple[str, ...]] = []
    for each in listed:
        state = each["state"] if each["agreed"] else "DIFFERS"
        rows.append(
            (each["server"], _cell(each["tool"]), *_word(each, state), _cell(each["title"]))
        )
        rows += [
            ("", f"  at {said['instance'][:12]}", *_word(said, said["state"]), "")
            for said in each["said"]
        ]
        rows += [("", f"  at {who[:12]}", "-", "unknown there", "-", "") for who in each["silent"]]
    nothing = "no connected client tells of such tools"
    return table(("SERVER", "TOOL", "CLASS", "STATE", "DEFINITION", "TITLE"), rows, nothing)


def tool(found: dict[str, Any]) -> str:
    """Show one tool with its definitions, all of them."""
    pairs = [(key, shown.visible(str(found[key]))) for key in ("server", "tool", "title")]
    pairs += [("class", found["class"] or "none"), ("state", found["state"])]
    pairs.append(("sha256", found["sha256"]))
    if not found["agreed"]:
        pairs.append(("DIFFERS", "clients of this tunnel do not say the same"))
        for each in found["said"]:
            words = (each["state"], each["class"] or "no class", each["sha256"])
            pairs.append(("", f"{each['instance'][:12]}: {', '.join(words)}"))
        pairs += [("", f"{who[:12]}: knows no such tool") for who in found["silent"]]
    pairs.append(("next", next_step(found)))
    texts = [_definition(found, each) for each in found["definitions"]]
    nothing = "definition: not told; the client tells what was pinned there"
    return "\n\n".join((facts(pairs), *(texts or [nothing])))


def difference(found: dict[str, Any]) -> str | None:
    """Return how the definitions that two clients tell differ; None when there are no two."""
    if len(found["definitions"]) < 2:
        return None
    before, after = found["definitions"][:2]
    lines = difflib.unified_diff(
        _laid_out(before["text"]),
        _laid_out(after["text"]),
        "at " + ", ".join(who[:12] for who in before["said_by"]),
        "at " + ", ".join(who[:12] for who in after["said_by"]),
        lineterm="",
    )
    return "\n".join(lines)


def next_step(found: dict[str, Any]) -> str:
    """Return the command at the private side that shows, or changes, what there is to see."""
    upstream = found["server"].partition("/")[2]
    verb = "pin" if found["state"] == "new" else "diff"
    return f"tunnel-client tool {verb} {upstream}, on the client's machine"


def _definition(found: dict[str, Any], each: dict[str, Any]) -> str:
    name = "definition"
    if len(found["definitions"]) > 1:
        name += f" at {', '.join(who[:12] for who in each['said_by'])}"
    if not each["listed"]:
        name += ", as it was pinned; the server lists another one now"
    return text_of(name, each["text"], "")


def _laid_out(text: str) -> list[str]:
    return ["  " * line.depth + line.text for line in shown.lines(text)]


def _word(each: dict[str, Any], state: str) -> tuple[str, str, str]:
    loud = state.upper() if state == "changed" else state
    return each["class"] or "-", loud, each["sha256"][:12]


def _cell(text: str) -> str:
    seen = shown.visible(text)
    return seen if len(seen) <= MAX_CELL else seen[: MAX_CELL - 1] + "…"
