"""Whether a policy lets anybody call anything of an upstream; pure."""

from collections.abc import Iterable
from dataclasses import replace

from shared.policy.classes import ToolClass
from shared.policy.methods import TOOL
from shared.policy.model import Action, Effect, Policy, Rule, Subject
from shared.policy.rules import visible

_SOMEBODY = Subject("somebody", frozenset(), "some-agent")


def for_somebody(policy: Policy) -> Policy:
    """Return the policy as it is for whoever it is best for.

    What is permitted to some is permitted; what is denied to some is not, unless it is to all.
    """
    rules = [_of_anybody(rule) for rule in policy.rules if not _denies_some(rule)]
    return Policy(tuple(rules), policy.digest, policy.environment)


def reachable(policy: Policy, server: str, tools: Iterable[tuple[str, ToolClass | None]]) -> int:
    """Count the tools that somebody could call, or ask an approval for, with some arguments."""
    best = for_somebody(policy)
    return sum(visible(best, _SOMEBODY, Action(server, TOOL, *tool, None)) for tool in tools)


def _denies_some(rule: Rule) -> bool:
    match = rule.match
    asks = any(each is not None for each in (match.user, match.agent, match.group))
    return rule.effect is Effect.DENY and asks


def _of_anybody(rule: Rule) -> Rule:
    return replace(rule, match=replace(rule.match, user=None, agent=None, group=None))
