"""Who may call what class of which server: the permission map of `policy test`, side by side. Pure.

A call has to pass both ends, so what both say together is the stricter of the two.
"""

from collections.abc import Sequence
from typing import Any

from shared.policy.classes import IN_ORDER
from shared.policy.model import Effect, Policy, Subject
from shared.policy.permissions import ANY, Tool, permission_map

ORDER = (Effect.ALLOW, Effect.REQUIRE_APPROVAL, Effect.DENY)
"""From the laxest."""
Effects = list[str]


def outlook_of(
    policy: Policy, subject: Subject, server: str, tools: Sequence[Tool]
) -> dict[str, Any]:
    """Return what can become of calls of each class, and of the tools that are named apart.

    `tools` of this server: {tool: effects}, only where they differ from what their class says.
    """
    classes: dict[str, Effects] = {}
    named: list[tuple[str, str | None, Effects]] = []
    rules: set[str] = set()
    names = {tool[1] for tool in tools}
    for row in permission_map(policy, subject, tools, [server]):
        effects = [each.value for each in row.effects]
        if row.what == f"{ANY} tool" and row.tool_class is not None:
            classes[row.tool_class.value] = effects
            rules.update(row.rules)
        elif row.what in names:
            named.append((row.what, row.tool_class, effects))
            rules.update(row.rules)
    apart = {name: effects for name, kind, effects in named if effects != classes.get(kind or "")}
    return {"classes": classes, "tools": apart, "rules": sorted(rules)}


def both(one: Effects, other: Effects) -> Effects:
    """Return what can become of a call that two ends judge: each time the stricter word."""
    rank = {each.value: at for at, each in enumerate(ORDER)}
    found = {max(a, b, key=rank.__getitem__) for a in one for b in other}
    return sorted(found, key=rank.__getitem__)


def either(several: Sequence[Effects]) -> Effects:
    """Return what can become of a call that any one of several clients may serve."""
    found = {effect for effects in several for effect in effects}
    return [each.value for each in ORDER if each.value in found]


def joined(relay: dict[str, Any], clients: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Put an outlook of the relay and those of the clients of one server together."""
    if not clients:
        return relay
    classes = {
        kind.value: both(
            relay["classes"][kind.value], either([each["classes"][kind.value] for each in clients])
        )
        for kind in IN_ORDER
    }
    rules = {rule for each in clients for rule in each["rules"]}
    return {"classes": classes, "tools": {}, "rules": sorted({*relay["rules"], *rules})}
