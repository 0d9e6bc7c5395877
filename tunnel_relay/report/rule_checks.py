"""Findings about what agents may do: the rules of both ends, and the tools they speak of. Pure."""

from collections.abc import Iterator

from tunnel_relay.report.findings import Check, Doc
from tunnel_relay.report.rules import about, covers, held_back, is_open, narrows

_CHANGING = {"write", "external_send"}
_GRAVE = {"admin", "break_glass"}


def _changed(doc: Doc) -> Iterator[str]:
    for each in doc["tools"]:
        if each["state"] == "changed":
            yield f"{each['server']} {each['tool']}"


def _new(doc: Doc) -> Iterator[str]:
    for each in doc["tools"]:
        if each["state"] == "new":
            yield f"{each['server']} {each['tool']}"


def _unclassified(doc: Doc) -> Iterator[str]:
    for each in doc["tools"]:
        if each["state"] == "pinned" and each["class"] is None:
            yield f"{each['server']} {each['tool']}"


def _differs(doc: Doc) -> Iterator[str]:
    for each in doc["tools"]:
        if not each["agreed"]:
            yield f"{each['server']} {each['tool']}"


def policies(doc: Doc) -> Iterator[tuple[str, list[Doc]]]:
    """Yield whose policy it is, and its rules, of the relay and of each client."""
    yield "relay", doc["policy"]["rules"]
    for part in doc["clients"]:
        yield f"client {part['instance'][:12]} of {part['tunnel']}", part["policy"]["rules"]


def rules_everywhere(doc: Doc) -> Iterator[tuple[str, Doc]]:
    """Yield whose rule it is, and the rule."""
    yield from ((whose, rule) for whose, rules in policies(doc) for rule in rules)


def _is_everything(rule: Doc) -> bool:
    """Tell whether it is a finding of its own."""
    return is_open(rule) and rule["classes"] is None


def _everything(doc: Doc) -> Iterator[str]:
    for rule in doc["policy"]["rules"]:
        if _is_everything(rule):
            yield f"relay: rule {rule['id']} (line {rule['line']})"


def _allowing(doc: Doc, classes: set[str]) -> Iterator[tuple[str, Doc]]:
    """Yield the rules that let one of these classes pass, and whose each is.

    One that names a class was meant for it, though another rule goes before it today.
    """
    for whose, rules in policies(doc):
        passing = classes - held_back(rules)
        for rule in rules:
            about_some = covers(rule, passing if rule["classes"] is None else classes)
            if rule["effect"] == "allow" and about_some and not _is_everything(rule):
                yield whose, rule


def _anybody_changes(doc: Doc) -> Iterator[str]:
    for whose, rule in _allowing(doc, _CHANGING):
        if not rule["conditional"] and not narrows(rule, "group", "user", "agent"):
            yield f"{whose}: rule {rule['id']}, {about(rule)}"


def _admin_allowed(doc: Doc) -> Iterator[str]:
    for whose, rule in _allowing(doc, _GRAVE):
        yield f"{whose}: rule {rule['id']}, {about(rule)}"


def _own_word(doc: Doc) -> Iterator[str]:
    for whose, rule in rules_everywhere(doc):
        approvers = rule["approvers"]
        if approvers is not None and not approvers["not_requester"]:
            yield f"{whose}: rule {rule['id']}"


CHECKS = (
    Check(
        "tool-changed",
        "medium",
        "Tools are not what was approved",
        "Their definition changed after somebody pinned it. They are hidden from agents.",
        "on the client's machine: tunnel-client tool diff UPSTREAM TOOL",
        _changed,
    ),
    Check(
        "clients-differ",
        "medium",
        "Clients of one tunnel do not say the same of a tool",
        "What a call may do depends on which client serves it.",
        "tunnel-relay tool diff TUNNEL/UPSTREAM TOOL",
        _differs,
    ),
    Check(
        "allows-everything",
        "medium",
        "A rule of the relay allows everything",
        "Whatever a session opens is decided at the client alone; the relay adds nothing.",
        "narrow the rule to servers, classes or groups: tunnel-relay policy test",
        _everything,
    ),
    Check(
        "admin-allowed",
        "medium",
        "Calls of class admin or break_glass need nobody's word",
        "What changes who may do what should be seen by a second person first.",
        "make the effect require_approval, then: tunnel-relay policy check",
        _admin_allowed,
    ),
    Check(
        "anybody-changes",
        "medium",
        "Any user's agent may change things or send them out",
        "The rule names no group, user or agent, so every session is covered.",
        "name a group in the rule: tunnel-relay policy test",
        _anybody_changes,
    ),
    Check(
        "own-approval",
        "medium",
        "Users may approve what their own agents ask for",
        "An approval is then no second pair of eyes.",
        "set not_requester: true in the rule's approvers",
        _own_word,
    ),
    Check(
        "tool-new",
        "low",
        "Tools wait for somebody to look at them",
        "They are hidden from agents until they are pinned.",
        "on the client's machine: tunnel-client tool pin UPSTREAM TOOL",
        _new,
    ),
    Check(
        "tool-unclassified",
        "low",
        "Tools have no class",
        "No rule about classes allows them.",
        "on the client's machine: tunnel-client tool classify UPSTREAM TOOL CLASS",
        _unclassified,
    ),
)
