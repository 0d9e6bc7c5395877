"""Who may call what class of which server: the permission map of `policy test`, side by side. Pure.

A call has to pass both ends, so what both say together is the stricter of the two.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from shared.policy.classes import IN_ORDER
from shared.policy.model import Effect, Policy, Subject
from shared.policy.permissions import Tool, permission_map

ORDER = (Effect.ALLOW, Effect.REQUIRE_APPROVAL, Effect.DENY)
"""From the laxest."""
Effects = list[str]


def outlook_of(
    policy: Policy, subject: Subject, server: str, tools: Sequence[Tool]
) -> dict[str, Any]:
    """Return what can become of calls of each class, and of the tools that are named apart.

    `tools` of this server: {tool: effects}, only where they differ from what their class says.
    """
    known = sorted(set(tools), key=lambda tool: tool[1])
    rows = permission_map(policy, subject, known, [server])
    # By place, not by name: a server may call a tool whatever it likes.
    named, others = rows[: len(known)], rows[len(known) :]
    by_class = [row for row in others if row.tool_class is not None]
    classes = {str(row.tool_class): _values(row.effects) for row in by_class}
    apart = {
        row.what: _values(row.effects)
        for row in named
        if _values(row.effects) != classes.get(str(row.tool_class))
    }
    rules = {rule for row in (*named, *by_class) for rule in row.rules}
    return {"classes": classes, "tools": apart, "rules": sorted(rules)}


def _values(effects: Sequence[Effect]) -> Effects:
    return [each.value for each in effects]


def both(one: Effects, other: Effects) -> Effects:
    """Return what can become of a call that two ends judge: each time the stricter word."""
    rank = {each.value: at for at, each in enumerate(ORDER)}
    found = {max(a, b, key=rank.__getitem__) for a in one for b in other}
    return sorted(found, key=rank.__getitem__)


def either(several: Sequence[Effects]) -> Effects:
    """Return what can become of a call that any one of several clients may serve."""
    found = {effect for effects in several for effect in effects}
    return [each.value for each in ORDER if each.value in found]


def joined(
    relay: dict[str, Any], clients: Sequence[dict[str, Any]], kinds: Mapping[str, str | None]
) -> dict[str, Any]:
    """Put an outlook of the relay and those of the clients of one server together.

    `kinds`: the class of each tool of that server.
    """
    classes = {kind.value: _both(relay, clients, None, kind.value) for kind in IN_ORDER}
    named = {name for each in (relay, *clients) for name in each["tools"]}
    tools = {name: _both(relay, clients, name, kinds.get(name)) for name in sorted(named)}
    apart = {
        name: effects
        for name, effects in tools.items()
        if effects != classes.get(kinds.get(name) or "")
    }
    rules = {rule for each in (relay, *clients) for rule in each["rules"]}
    return {"classes": classes, "tools": apart, "rules": sorted(rules)}


def _both(
    relay: dict[str, Any], clients: Sequence[dict[str, Any]], tool: str | None, kind: str | None
) -> Effects:
    own = _of(relay, tool, kind)
    return both(own, either([_of(each, tool, kind) for each in clients])) if clients else own


def _of(outlook: dict[str, Any], tool: str | None, kind: str | None) -> Effects:
    by_class: Effects = outlook["classes"].get(kind, [Effect.DENY.value])
    found: Effects = outlook["tools"].get(tool, by_class)
    return found
