"""Decides: a policy, a subject and an action in, one decision out. Pure.

Deny beats require_approval beats allow, whatever the order of the rules. Nothing that matches is a
deny, and so is any fault while a rule that matches is being asked.
"""

from shared.policy.conditions import ConditionError, Measured, measure
from shared.policy.index import Found
from shared.policy.methods import FREE, RULED, TOOL, TOOL_NAME
from shared.policy.model import Action, Decision, Effect, Policy, Rule, Subject

_DENY, _ASK, _ALLOW = Effect.DENY, Effect.REQUIRE_APPROVAL, Effect.ALLOW
_FREE = Decision(_ALLOW, None, "free")
_NO_RULE = Decision(_DENY, None, "no_rule")
_BAD_NAME = Decision(_DENY, None, "bad_name")
_UNKNOWN_METHOD = Decision(_DENY, None, "unknown_method")


def decide(policy: Policy, subject: Subject, action: Action) -> Decision:
    """Return what becomes of one call; total, and a fault is a deny."""
    found = _found(policy, subject, action)
    if found.decision is not None:
        return found.decision
    applying = list(found.certain)
    failed: Rule | None = None
    measured: Measured | None = None
    for rule in found.conditional:
        # Once for all rules: a large call costs the same however many of them look at it.
        if measured is None and rule.when is not None:
            measured = measure(action.args or {})
        try:
            if _holds(rule, subject, action, measured):
                applying.append(rule)
        except ConditionError:
            failed = rule
    if failed is not None and not any(rule.effect is _DENY for rule in applying):
        return Decision(_DENY, failed.id, "policy_error")
    return _strictest(applying)


def visible(policy: Policy, subject: Subject, action: Action) -> bool:
    """Tell whether some arguments would be allowed or could be approved; `args` are not read.

    What is not visible, `decide` denies for any arguments.
    """
    return _found(policy, subject, action).is_visible


def _found(policy: Policy, subject: Subject, action: Action) -> Found:
    key = (subject, action.server, action.method, action.name, action.tool_class)
    found = policy.index.recall(key)
    if found is None:
        found = _find(policy, subject, action)
        policy.index.remember(key, found)
    return found


def _find(policy: Policy, subject: Subject, action: Action) -> Found:
    settled = _settled(action)
    if settled is not None:
        return Found(settled, (), (), settled.effect is not _DENY)
    rules = policy.index.matched(subject, action)
    certain = tuple(rule for rule in rules if not rule.is_conditional)
    conditional = tuple(rule for rule in rules if rule.is_conditional)
    if not conditional or any(rule.effect is _DENY for rule in certain):
        decision = _strictest(certain)
        return Found(decision, certain, (), decision.effect is not _DENY)
    can_permit = any(rule.effect is not _DENY for rule in rules)
    return Found(None if can_permit else _NO_RULE, certain, conditional, can_permit)


def _settled(action: Action) -> Decision | None:
    """Return what no rule can change."""
    method = action.method
    if method not in RULED:
        return _FREE if method in FREE else _UNKNOWN_METHOD
    if method == TOOL and (action.name is None or TOOL_NAME.fullmatch(action.name) is None):
        return _BAD_NAME
    return None


def _strictest(rules: "list[Rule] | tuple[Rule, ...]") -> Decision:
    """Return what the applying rules come to; of two alike the first by id is named."""
    for effect in (_DENY, _ASK, _ALLOW):
        same = [rule for rule in rules if rule.effect is effect]
        if same:
            first = min(same, key=_rank)
            return Decision(effect, first.id, "rule", first.approvers)
    return _NO_RULE


def _rank(rule: Rule) -> tuple[int, bool, float, str]:
    """Order rules of one effect: of those that ask, the one that asks for most comes first."""
    approvers = rule.approvers
    if approvers is None:
        return (0, False, 0.0, rule.id)
    return (-approvers.count, not approvers.not_requester, approvers.ttl, rule.id)


def _holds(rule: Rule, subject: Subject, action: Action, measured: Measured | None) -> bool:
    """Ask what a rule wants of the arguments; raises ConditionError."""
    args = {} if action.args is None else action.args
    if not isinstance(args, dict):
        raise ConditionError("the arguments are not an object")
    if rule.recipients is not None and not rule.recipients.all_inside(args):
        return False
    if rule.when is None:
        return True
    return rule.when.holds(
        args,
        measured,
        user=subject.user,
        agent=subject.agent,
        groups=sorted(subject.groups),
        server=action.server,
        tool=action.name or "",
    )


def permits_all(policy: Policy, subject: Subject, server: str, methods: frozenset[str]) -> bool:
    """Tell whether a subject may do all of this there, whatever it is called; False: not surely.

    One rule says so, and none forbids anything or asks anybody.
    """
    if any(rule.effect is not _ALLOW for rule in policy.rules):
        return False
    matched = policy.index.matched(subject, Action(server, min(methods), None, None, None))
    return any(
        methods <= rule.match.methods and rule.match.names_nothing and not rule.is_conditional
        for rule in matched
    )


def outlook(policy: Policy, subject: Subject, action: Action) -> tuple[list[Effect], list[str]]:
    """Return what can become of such a call, by its arguments, and the rules that have a say.

    One effect: arguments do not matter. For people; a decision takes `decide`.
    """
    found = _found(policy, subject, action)
    if found.decision is not None:
        rule = found.decision.rule
        return [found.decision.effect], [] if rule is None else [rule]
    least = _strictest(found.certain)
    order = [_ALLOW, _ASK, _DENY]
    floor = order.index(least.effect) if found.certain else 0
    named = (*found.certain, *found.conditional)
    effects = {_DENY, least.effect, *(rule.effect for rule in found.conditional)}
    possible = [effect for effect in order if effect in effects and order.index(effect) >= floor]
    return possible, [rule.id for rule in named]
