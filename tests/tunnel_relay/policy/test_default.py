"""What the policy that a new relay starts with allows, as its comments say."""

import pytest

from shared.policy.classes import ToolClass
from shared.policy.document import read_policy
from shared.policy.methods import RULED
from shared.policy.model import Action, Effect, Subject
from shared.policy.rules import decide
from tunnel_relay.policy.default import default_policy

SUBJECT = Subject("alice", frozenset(), "claude")
POLICY = read_policy(default_policy(), "policy.yaml")


@pytest.mark.parametrize("method", sorted(RULED))
@pytest.mark.parametrize("tool_class", [None, *ToolClass])
def test_it_takes_nothing_away_from_sessions(method: str, tool_class: ToolClass | None) -> None:
    action = Action("shop/crm", method, "x", tool_class, {})
    assert decide(POLICY, SUBJECT, action).effect is Effect.ALLOW


def test_its_examples_are_rules() -> None:
    text = default_policy().replace("  # - id", "  - id").replace("  #   ", "    ")
    assert len(read_policy(text, "policy.yaml").rules) == 4
