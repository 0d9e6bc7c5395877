"""Fixtures: calls with the decision that a policy's author expects, so that a slip shows."""

import re
from typing import Any, NamedTuple

from shared.configfile import ConfigError
from shared.policy.classes import ToolClass
from shared.policy.methods import FREE, RULED, TOOL
from shared.policy.model import Action, Decision, Effect, Policy, Subject
from shared.policy.reading import Place, Report, check_keys, one_of, one_text, texts
from shared.policy.rules import decide
from shared.policy.yamltree import Tree, read_tree

KEYS = (
    *("user", "groups", "agent", "server", "tool", "method", "name", "class", "args", "expect"),
)
_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?")
_WORDS: dict[str, Any] = {"true": True, "false": False, "null": None}


class Fixture(NamedTuple):
    """One call and what should become of it."""

    line: int
    subject: Subject
    action: Action
    expect: Effect


class Result(NamedTuple):
    """One fixture held against a policy."""

    fixture: Fixture
    decision: Decision

    @property
    def passed(self) -> bool:
        """Is it as expected?"""
        return self.decision.effect is self.fixture.expect

    def as_data(self) -> dict[str, Any]:
        """Return it for JSON."""
        return {
            "line": self.fixture.line,
            "what": self.what,
            "expect": self.fixture.expect,
            "effect": self.decision.effect,
            "rule": self.decision.rule,
            "why": self.decision.why,
            "passed": self.passed,
        }

    @property
    def what(self) -> str:
        """Who calls what, in a few words."""
        subject, action = self.fixture.subject, self.fixture.action
        called = action.name if action.method == TOOL else f"{action.method} {action.name or ''}"
        return f"{subject.user} by {subject.agent}: {action.server}/{called}".rstrip()


def read_fixtures(text: str, source: str) -> list[Fixture]:
    """Return the fixtures in a list of YAML; raises ConfigError with every problem."""
    tree = read_tree(text, source)
    report = Report(source)
    found: list[Fixture] = []
    if not isinstance(tree.value, list) or not tree.value:
        report.add(Place(tree, tree.line, ""), "is a list of calls, each with expect")
    else:
        for number, each in enumerate(tree.value):
            fixture = _fixture(Place(each, each.line, f"[{number}]"), report)
            if fixture is not None:
                found.append(fixture)
    if report.problems:
        raise ConfigError(report.problems)
    return found


def run_fixtures(policy: Policy, fixtures: list[Fixture]) -> list[Result]:
    """Decide every fixture."""
    return [Result(each, decide(policy, each.subject, each.action)) for each in fixtures]


def _fixture(place: Place, report: Report) -> Fixture | None:
    before = len(report.problems)
    members = check_keys(place, report, KEYS, required=("user", "agent", "server", "expect"))
    if members is None:
        return None
    if "tool" in members and ("method" in members or "name" in members):
        report.add(members["tool"], "does not go with method and name")
    if "tool" not in members and "method" not in members:
        report.add(place, "name a tool, or a method and what it is about")
    plain = {
        key: one_text(members[key], report)
        for key in ("user", "agent", "server", "tool", "name")
        if key in members
    }
    method = one_of(members["method"], report, RULED | FREE.keys()) if "method" in members else TOOL
    groups = texts(members["groups"], report) if "groups" in members else ()
    tool_class = one_of(members["class"], report, list(ToolClass)) if "class" in members else None
    expect = one_of(members["expect"], report, list(Effect)) if "expect" in members else None
    args = _args(members["args"], report) if "args" in members else {}
    if len(report.problems) > before:
        return None
    subject = Subject(plain["user"] or "", frozenset(groups or ()), plain["agent"] or "")
    action = Action(
        plain["server"] or "",
        method or TOOL,
        plain.get("tool", plain.get("name")),
        None if tool_class is None else ToolClass(tool_class),
        args,
    )
    return Fixture(place.line, subject, action, Effect(expect or Effect.DENY))


def _args(place: Place, report: Report) -> dict[str, Any]:
    if not isinstance(place.tree.value, dict):
        report.add(place, "is a map of arguments")
        return {}
    return {name: _json(tree) for name, tree in place.tree.value.items()}


def _json(tree: Tree) -> Any:
    """Return a value with the types of JSON: only text without quotes can be a number or a word."""
    if isinstance(tree.value, dict):
        return {name: _json(each) for name, each in tree.value.items()}
    if isinstance(tree.value, list):
        return [_json(each) for each in tree.value]
    if tree.is_plain and tree.value in _WORDS:
        return _WORDS[tree.value]
    if tree.is_plain and _NUMBER.fullmatch(tree.value):
        return float(tree.value) if re.search("[.eE]", tree.value) else int(tree.value)
    return tree.value
