"""Rules of a policy as values that a report shows and judges. Pure."""

import re
from collections.abc import Collection
from typing import Any

from shared.policy.classes import IN_ORDER, ToolClass
from shared.policy.methods import TOOL
from shared.policy.model import Policy, Rule

_ANY = re.compile(r"\*+|\?\*|\*\?")
"""What is written to mean everybody, or everything; a server can be that of any tunnel, too."""
_ALL_SERVERS = ("server", "*/*")
_PATTERNS = ("server", "tool", "prompt", "resource", "group", "user", "agent", "env")


def rules_of(policy: Policy) -> list[dict[str, Any]]:
    """Return every rule as JSON values, in the order of the file."""
    return [_rule(each) for each in policy.rules]


def _rule(rule: Rule) -> dict[str, Any]:
    match = rule.match
    found: dict[str, Any] = {
        "id": rule.id,
        "line": rule.line,
        "effect": rule.effect.value,
        "conditional": rule.is_conditional,
        "tools": TOOL in match.methods,
        "match": {name: list(getattr(match, name) or ()) for name in _PATTERNS},
        "classes": _classes(match.classes),
        "approvers": None,
    }
    approvers = rule.approvers
    if approvers is not None:
        found["approvers"] = {
            "groups": list(approvers.groups),
            "users": list(approvers.users),
            "count": approvers.count,
            "not_requester": approvers.not_requester,
            "ttl": approvers.ttl,
        }
    return found


def _classes(classes: Collection[ToolClass] | None) -> list[str] | None:
    return None if classes is None else [each.value for each in IN_ORDER if each in classes]


def about(rule: dict[str, Any]) -> str:
    """Say in a line what a rule is about."""
    parts = [
        f"{name} {' or '.join(patterns)}" for name, patterns in rule["match"].items() if patterns
    ]
    if rule["classes"] is not None:
        parts.insert(0, f"class {' or '.join(rule['classes'])}")
    if rule["conditional"]:
        parts.append("by arguments")
    return ", ".join(parts) or "everything"


def narrows(rule: dict[str, Any], *names: str) -> bool:
    """Does it say something of one of these that does not hold for all?"""
    return any(
        patterns
        and not any(_ANY.fullmatch(each) or (name, each) == _ALL_SERVERS for each in patterns)
        for name, patterns in ((name, rule["match"][name]) for name in names)
    )


def is_open(rule: dict[str, Any]) -> bool:
    """Does it allow tools whoever asks, wherever they are, whatever the arguments?"""
    narrowed = narrows(rule, *rule["match"])
    return rule["effect"] == "allow" and rule["tools"] and not rule["conditional"] and not narrowed


def held_back(rules: Collection[dict[str, Any]]) -> set[str]:
    """Return the classes that rules of one policy never let through without a person's word.

    Whatever else allows them: denial and approval go before it.
    """
    return {
        each
        for rule in rules
        if rule["effect"] != "allow" and rule["tools"] and not rule["conditional"]
        if not narrows(rule, *rule["match"])
        for each in (rule["classes"] or [kind.value for kind in IN_ORDER])
    }


def covers(rule: dict[str, Any], classes: Collection[str]) -> bool:
    """Is it about tools of one of these classes, as it names one or because it names none?

    Whoever names tools knows of each what it does.
    """
    if rule["classes"] is not None:
        return not set(classes).isdisjoint(rule["classes"])
    return bool(classes) and rule["tools"] and not narrows(rule, "tool", "env")
