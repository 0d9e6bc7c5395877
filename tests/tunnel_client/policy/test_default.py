"""What the policy that a new client starts with allows, as its comments say."""

import pytest

from shared.policy.classes import ToolClass
from shared.policy.document import read_policy
from shared.policy.methods import RULED
from shared.policy.model import Action, Effect, Subject
from shared.policy.rules import decide
from tunnel_client.policy.default import default_policy

SUBJECT = Subject("alice", frozenset(), "claude")
POLICY = read_policy(default_policy(), "policy.yaml")


@pytest.mark.parametrize(
    ("tool_class", "effect"),
    [
        (ToolClass.READ, Effect.ALLOW),
        (ToolClass.DRAFT, Effect.ALLOW),
        (ToolClass.WRITE, Effect.REQUIRE_APPROVAL),
        (ToolClass.EXTERNAL_SEND, Effect.REQUIRE_APPROVAL),
        (ToolClass.ADMIN, Effect.REQUIRE_APPROVAL),
        (ToolClass.BREAK_GLASS, Effect.DENY),
        (None, Effect.DENY),
    ],
)
def test_looking_is_free_changing_is_asked_and_emergencies_are_closed(
    tool_class: ToolClass | None, effect: Effect
) -> None:
    decision = decide(POLICY, SUBJECT, Action("crm", "tools/call", "x", tool_class, {}))
    assert decision.effect is effect
    if effect is Effect.REQUIRE_APPROVAL:
        assert decision.approvers is not None
        assert decision.approvers.groups == ("approvers",)
        assert decision.approvers.not_requester


def test_servers_may_ask_nothing_and_the_rest_is_read() -> None:
    denied = {
        method
        for method in RULED - {"tools/call"}
        if decide(POLICY, SUBJECT, Action("crm", method, "x", None, {})).effect is Effect.DENY
    }
    assert denied == {"sampling/createMessage", "elicitation/create", "roots/list"}


def test_its_example_is_a_rule() -> None:
    text = default_policy().replace("  # - id: no-delete", "  - id: no-delete")
    text = text.replace("  #   ", "    ")
    assert read_policy(text, "policy.yaml").rules[-1].id == "no-delete"
