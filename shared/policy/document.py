"""Reads a policy's text; every fault is told at once, with its line and the nearest valid word."""

from shared.configfile import ConfigError
from shared.jsonrpc.canonical import digest
from shared.keys import BadKeyError
from shared.passkey import Passkey, read_approver_key
from shared.policy.model import Policy, Rule
from shared.policy.reading import Place, Report, check_keys, one_text
from shared.policy.ruletext import read_rule
from shared.policy.yamltree import Tree, read_tree

TOP_KEYS = ("version", "default", "environment", "approver_keys", "rules")
MAX_RULES = 10_000


def read_policy(text: str, source: str) -> Policy:
    """Return the policy in `text`; `source` is the file name to show.

    Raises ConfigError with every problem there is, in the order of their lines.
    """
    tree = read_tree(text, source)
    report = Report(source)
    policy = _read(tree, report)
    if policy is None or report.problems:
        raise ConfigError(sorted(report.problems, key=lambda one: one.line or 0))
    return policy


def _read(tree: Tree, report: Report) -> Policy | None:
    top = Place(tree, tree.line, "")
    members = check_keys(top, report, TOP_KEYS, required=("version", "rules"))
    if members is None:
        return None
    if "version" in members and members["version"].tree.value != "1":
        report.add(members["version"], "only version 1 is known")
    if "default" in members and members["default"].tree.value != "deny":
        report.add(members["default"], "only deny: what no rule allows is denied")
    environment = None
    if "environment" in members:
        environment = one_text(members["environment"], report)
    rules = _rules(members.get("rules"), report, environment)
    return Policy(
        tuple(rules),
        digest(tree.as_data()),
        environment,
        _keys(members.get("approver_keys"), report),
    )


def _rules(place: Place | None, report: Report, environment: str | None) -> list[Rule]:
    if place is None:
        return []
    if not isinstance(place.tree.value, list):
        report.add(place, "is a list of rules")
        return []
    if len(place.tree.value) > MAX_RULES:
        report.add(place, f"more than {MAX_RULES} rules")
        return []
    rules: list[Rule] = []
    first: dict[str, int] = {}
    for number, tree in enumerate(place.tree.value):
        here = Place(tree, tree.line, f"rules[{number}]")
        rule = read_rule(here, report, environment)
        if rule is not None:
            rules.append(rule)
        # Of a rule with other faults too, so that one run tells all.
        name = tree.value.get("id") if isinstance(tree.value, dict) else None
        if name is not None and isinstance(name.value, str):
            if name.value in first:
                report.add(here.below("id"), f"taken by the rule in line {first[name.value]}")
            first.setdefault(name.value, tree.line)
    return rules


def _keys(place: Place | None, report: Report) -> dict[str, str]:
    if place is None:
        return {}
    if not isinstance(place.tree.value, dict):
        report.add(place, "is a map of names and public keys")
        return {}
    if not place.tree.value:
        # Empty would mean that the relay's word is enough, which nobody says by listing keys.
        report.add(place, "names nobody; leave it out where the relay's word is enough")
    found: dict[str, str] = {}
    seen: set[bytes] = set()
    for name in place.tree.value:
        here = place.below(name)
        key = one_text(here, report)
        if key is None:
            continue
        try:
            read = read_approver_key(key)
        except BadKeyError:
            wanted = "`tunnel-relay approval keygen` prints it, nor a passkey"
            report.add(here, f"is not a public key as {wanted}")
        else:
            # The bare key: one passkey under two origins would be two approvers.
            public = read.public if isinstance(read, Passkey) else read
            if public in seen:
                report.add(here, "stands under another name already")
            seen.add(public)
        found[name] = key
    return found
