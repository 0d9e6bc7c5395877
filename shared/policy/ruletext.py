"""Reads one rule of a policy's text."""

import re

from shared.policy.classes import ToolClass
from shared.policy.conditions import Condition, ConditionError
from shared.policy.globs import is_exact, matches
from shared.policy.methods import FREE, IMPLIED, NAMED_BY, RULED, TOOL
from shared.policy.model import Approvers, Effect, Match, Rule
from shared.policy.reading import (
    Place,
    Report,
    check_keys,
    duration,
    nearest,
    number,
    one_of,
    one_text,
    texts,
    truth,
)
from shared.policy.recipients import Recipients, is_domain

RULE_KEYS = ("id", "match", "effect", "when", "recipients", "approvers")
MATCH_KEYS = (
    *("server", "tool", "prompt", "resource", "method", "class", "group", "user", "agent", "env"),
)
APPROVER_KEYS = ("group", "user", "count", "not_requester", "ttl")
RECIPIENT_KEYS = ("args", "domains")
MAX_PATTERN = 512
MAX_TTL = 86_400.0
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


def read_rule(place: Place, report: Report, environment: str | None) -> Rule | None:
    """Return one rule; None when it has a fault, which the report then has."""
    before = len(report.problems)
    members = check_keys(place, report, RULE_KEYS, required=("id", "match", "effect"))
    if members is None:
        return None
    identifier = one_text(members["id"], report) if "id" in members else None
    if identifier is not None and _ID.fullmatch(identifier) is None:
        report.add(members["id"], "an id is 1 to 64 of A-Z, a-z, 0-9, dot, - and _")
    effect = one_of(members["effect"], report, list(Effect)) if "effect" in members else None
    match = _match(members["match"], report, environment) if "match" in members else None
    when = _condition(members["when"], report) if "when" in members else None
    recipients = _recipients(members.get("recipients"), report, effect)
    approvers = _approvers(place, members.get("approvers"), report, effect)
    if len(report.problems) > before or identifier is None or match is None or effect is None:
        return None
    return Rule(identifier, Effect(effect), match, when, recipients, approvers, place.line)


def _match(place: Place, report: Report, environment: str | None) -> Match | None:
    members = check_keys(place, report, MATCH_KEYS)
    if members is None:
        return None
    found = {name: _patterns(each, report) for name, each in members.items()}
    if "env" in found and environment is None:
        report.add(members["env"], "needs an environment at the top of the file")
    return Match(
        _methods(members, found.pop("method", None), report),
        classes=_classes(members.get("class"), found.pop("class", None), report),
        **found,
    )


def _patterns(place: Place, report: Report) -> tuple[str, ...] | None:
    patterns = texts(place, report)
    if patterns is not None and max(map(len, patterns)) > MAX_PATTERN:
        report.add(place, f"a pattern is longer than {MAX_PATTERN} characters")
    return patterns


def _methods(
    members: dict[str, Place], patterns: tuple[str, ...] | None, report: Report
) -> frozenset[str]:
    """Return which methods the rule is about."""
    kinds = [kind for kind in NAMED_BY if kind in members]
    if len(kinds) > 1:
        report.add(members[kinds[1]], f"does not go with {kinds[0]}: one thing has one name")
    if "method" not in members:
        return IMPLIED[kinds[0]] if kinds else frozenset({TOOL})
    place = members["method"]
    methods: set[str] = set()
    for pattern in patterns or ():
        if pattern in FREE:
            report.add(place, f"{pattern} needs no rule: {FREE[pattern]}")
            continue
        fitting = {method for method in RULED if matches(pattern, method)}
        if not fitting and patterns is not None:
            report.add(place, f"no method is called {pattern}; {nearest(pattern, RULED)}")
        methods |= fitting
    if kinds and methods and not methods & NAMED_BY[kinds[0]]:
        report.add(place, f"has no {kinds[0]} to match")
    return frozenset(methods)


def _classes(
    place: Place | None, patterns: tuple[str, ...] | None, report: Report
) -> frozenset[ToolClass] | None:
    if place is None:
        return None
    classes: set[ToolClass] = set()
    for pattern in patterns or ():
        fitting = {one for one in ToolClass if matches(pattern, one)}
        if not fitting:
            word = "class" if is_exact(pattern) else "class fits"
            report.add(place, f"no {word} {pattern}; {nearest(pattern, ToolClass)}")
        classes |= fitting
    return frozenset(classes)


def _condition(place: Place, report: Report) -> Condition | None:
    text = one_text(place, report)
    if text is None:
        return None
    try:
        return Condition(text)
    except ConditionError as error:
        report.add(place, str(error))
        return None


def _recipients(place: Place | None, report: Report, effect: str | None) -> Recipients | None:
    if place is None:
        return None
    members = check_keys(place, report, RECIPIENT_KEYS, required=RECIPIENT_KEYS)
    if members is None:
        return None
    if effect == Effect.DENY:
        report.add(place, "goes with allow and require_approval: it says where sending is right")
    args = texts(members["args"], report) if "args" in members else None
    domains = texts(members["domains"], report) if "domains" in members else None
    if domains is not None and not all(map(is_domain, domains)):
        report.add(members["domains"], "a domain looks like corp.com, or *.corp.com for all below")
    return None if args is None or domains is None else Recipients(args, domains)


def _approvers(
    rule: Place, place: Place | None, report: Report, effect: str | None
) -> Approvers | None:
    asks = effect == Effect.REQUIRE_APPROVAL
    if place is None:
        if asks:
            report.add(rule, "require_approval needs approvers: {group: [...], ttl: 15m}")
        return None
    if effect is not None and not asks:
        report.add(place, "goes with effect require_approval only")
    members = check_keys(place, report, APPROVER_KEYS)
    if members is None:
        return None
    if "group" not in members and "user" not in members:
        report.add(place, "name who may approve: group, user or both")
    groups = texts(members["group"], report) if "group" in members else ()
    users = texts(members["user"], report) if "user" in members else ()
    count = number(members["count"], report, 1, 10) if "count" in members else 1
    other = truth(members["not_requester"], report) if "not_requester" in members else True
    ttl = duration(members["ttl"], report) if "ttl" in members else 900.0
    if ttl is not None and ttl > MAX_TTL:
        report.add(members["ttl"], "longer than a day: an approval is for now")
    if groups is None or users is None or count is None or other is None or ttl is None:
        return None
    if "group" not in members and 0 < len(set(users)) < count:
        report.add(place, "asks for more approvals than there are users")
    return Approvers(groups, users, count, other, ttl)
