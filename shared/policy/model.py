"""The values of a policy: who asks for what, what the rules say of it, and what follows."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, NamedTuple

from shared.policy.classes import ToolClass
from shared.policy.conditions import Condition
from shared.policy.index import Index
from shared.policy.recipients import Recipients


class Effect(StrEnum):
    """What a rule wants; deny beats require_approval beats allow."""

    ALLOW = "allow"
    REQUIRE_APPROVAL = "require_approval"
    DENY = "deny"


class Subject(NamedTuple):
    """Who asks: a user with groups, through an agent."""

    user: str
    groups: frozenset[str]
    agent: str


class Action(NamedTuple):
    """What is asked for.

    `server` is the upstream's name, at the relay `tunnel/upstream`. `name` is the tool, the prompt,
    the URI of the resource, or what a completion refers to. `tool_class` is None when nobody
    classified the tool: then no rule about classes allows it, and each that denies or asks applies.
    """

    server: str
    method: str
    name: str | None
    tool_class: ToolClass | None
    args: Mapping[str, Any] | None


@dataclass(frozen=True, slots=True)
class Approvers:
    """Who may permit a call: members of a group or named users, so many of them, in so many s."""

    groups: tuple[str, ...] = ()
    users: tuple[str, ...] = ()
    count: int = 1
    not_requester: bool = True
    ttl: float = 900.0


@dataclass(frozen=True, slots=True)
class Match:
    """What a rule is about: patterns, one of which must fit; None: the rule does not ask.

    `methods` are whole names, the patterns of the file resolved.
    """

    methods: frozenset[str]
    server: tuple[str, ...] | None = None
    tool: tuple[str, ...] | None = None
    prompt: tuple[str, ...] | None = None
    resource: tuple[str, ...] | None = None
    classes: frozenset[ToolClass] | None = None
    group: tuple[str, ...] | None = None
    user: tuple[str, ...] | None = None
    agent: tuple[str, ...] | None = None
    env: tuple[str, ...] | None = None

    @property
    def names_nothing(self) -> bool:
        """Is it about everything of its methods, whatever that is called and does?"""
        asked = self.tool, self.prompt, self.resource, self.classes
        return all(each is None for each in asked)


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule of the file; `line` is where it begins."""

    id: str
    effect: Effect
    match: Match
    when: Condition | None = None
    recipients: Recipients | None = None
    approvers: Approvers | None = None
    line: int = 0

    @property
    def is_conditional(self) -> bool:
        """Does it look at arguments?"""
        return self.when is not None or self.recipients is not None


class Decision(NamedTuple):
    """What follows for one call.

    `why` is for logs and records, never for the agent: `rule`, `no_rule`, `free`, `bad_name`,
    `unknown_method` or `policy_error`. `rule` is the rule that decided, or the one that failed.
    """

    effect: Effect
    rule: str | None
    why: str
    approvers: Approvers | None = None


def why_facts(decision: Decision | None, policy: str) -> dict[str, str | None]:
    """Return what a record says of a decision by a policy's digest; None: no rule was asked."""
    if decision is None:
        return {"by": "free", "decision": Effect.ALLOW.value, "policy": policy, "rule": None}
    effect = decision.effect.value
    return {"by": decision.why, "decision": effect, "policy": policy, "rule": decision.rule}


class Policy:
    """A whole policy file, checked. Its `digest` is the same for the same meaning of the text."""

    __slots__ = ("approver_keys", "digest", "environment", "index", "rules")

    def __init__(
        self,
        rules: tuple[Rule, ...],
        digest: str,
        environment: str | None = None,
        approver_keys: Mapping[str, str] | None = None,
    ) -> None:
        self.rules = rules
        self.digest = digest
        self.environment = environment
        self.approver_keys = dict(approver_keys or {})
        self.index = Index(rules, environment)
