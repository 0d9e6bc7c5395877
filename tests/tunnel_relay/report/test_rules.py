"""Rules as a report shows them, and which of them let everything through."""

from typing import Any

import pytest

from shared.policy.document import read_policy
from tunnel_relay.report.rules import about, covers, is_open, rules_of

NAMES = ("server", "tool", "user", "agent", "group")


def rule(text: str) -> dict[str, Any]:
    policy = read_policy(f"version: 1\nrules:\n  - {{id: one, {text}}}\n", "policy")
    (found,) = rules_of(policy)
    return found


def test_a_rule_is_said_in_a_line() -> None:
    text = 'match: {server: "shop/*", class: [write, admin], group: ops}, effect: deny'
    assert about(rule(text)) == "class write or admin, server shop/*, group ops"
    assert about(rule('match: {method: "*"}, effect: allow')) == "everything"
    assert about(rule("match: {class: read}, when: 'true', effect: deny")).endswith("by arguments")


def test_who_approves_is_told() -> None:
    found = rule(
        "match: {class: admin}, effect: require_approval, "
        "approvers: {group: [a], user: [u], count: 2, ttl: 5m, not_requester: false}"
    )
    assert found["approvers"] == {
        "groups": ["a"],
        "users": ["u"],
        "count": 2,
        "not_requester": False,
        "ttl": 300.0,
    }


@pytest.mark.parametrize(
    ("text", "wide"),
    [
        ('match: {method: "*"}, effect: allow', True),
        ("match: {class: read}, effect: allow", True),
        ('match: {method: "*"}, effect: deny', False),
        ("match: {class: read, user: ada}, effect: allow", False),
        ('match: {server: "a"}, effect: allow', False),
        *((f'match: {{{name}: "*"}}, effect: allow', True) for name in NAMES),
        ('match: {server: ["*/*"], user: "?*", method: "*"}, effect: allow', True),
        ('match: {server: [a, "*"]}, effect: allow', True),
        ('match: {server: "a*"}, effect: allow', False),
        ('match: {method: "prompts/get"}, effect: allow', False),
        ("match: {class: read}, when: 'true', effect: allow", False),
    ],
)
def test_a_rule_is_open_when_it_asks_for_nothing_but_a_class(text: str, wide: bool) -> None:
    assert is_open(rule(text)) is wide


@pytest.mark.parametrize(
    ("match", "covered"),
    [
        ("class: [read, admin]", True),
        ("class: read", False),
        ("server: a", True),
        ('tool: "*", group: ops', True),
        ("tool: list_things", False),
        ('method: "prompts/get"', False),
    ],
)
def test_a_rule_that_names_no_class_is_about_all_of_them(match: str, covered: bool) -> None:
    assert covers(rule(f"match: {{{match}}}, effect: allow"), {"admin"}) is covered


def test_a_rule_of_one_environment_is_not_about_all_classes() -> None:
    found = rule("match: {server: a}, effect: allow")
    assert covers(found, {"admin"})
    found["match"]["env"] = ["test"]
    assert not covers(found, {"admin"})
