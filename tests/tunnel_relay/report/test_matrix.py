"""The permission map of both ends, side by side."""

from shared.policy.classes import ToolClass
from shared.policy.document import read_policy
from shared.policy.model import Subject
from tunnel_relay.report.matrix import both, either, joined, outlook_of

POLICY = read_policy(
    """\
version: 1
rules:
  - {id: look, match: {class: read}, effect: allow}
  - {id: not-this, match: {tool: secret_read}, effect: deny}
  - {id: pay, match: {class: write}, when: 'args.amount < 5', effect: allow}
""",
    "policy",
)
UMA = Subject("uma", frozenset(), "bot")


def test_an_outlook_names_what_differs_from_its_class() -> None:
    tools = [("s", "secret_read", ToolClass.READ), ("s", "plain_read", ToolClass.READ)]
    found = outlook_of(POLICY, UMA, "s", tools)
    assert found["classes"]["read"] == ["allow"]
    assert found["classes"]["write"] == ["allow", "deny"]
    assert found["classes"]["admin"] == ["deny"]
    assert found["tools"] == {"secret_read": ["deny"]}
    assert found["rules"] == ["look", "not-this", "pay"]


def test_a_tool_cannot_pose_as_a_class() -> None:
    found = outlook_of(POLICY, UMA, "s", [("s", "(any) tool", ToolClass.ADMIN)])
    assert found["classes"]["admin"] == ["deny"]
    assert found["classes"]["read"] == ["allow"]


def test_two_ends_say_the_stricter_word_and_several_clients_the_laxer() -> None:
    allow, ask, deny = ["allow"], ["require_approval"], ["deny"]
    assert both(allow, ask) == ask
    assert both(["allow", "deny"], ask) == ["require_approval", "deny"]
    assert both(deny, allow) == deny
    assert either([ask, allow]) == ["allow", "require_approval"]


def test_a_tool_is_judged_by_its_own_word_where_one_end_has_one() -> None:
    kinds = {"secret_read": "read"}
    relay = outlook_of(POLICY, UMA, "s", [])
    client = outlook_of(POLICY, UMA, "s", [("s", "secret_read", ToolClass.READ)])
    assert joined(relay, [client], kinds)["tools"] == {"secret_read": ["deny"]}
    # The other client knows no such rule: then it may be allowed.
    assert joined(relay, [client, relay], kinds)["tools"] == {"secret_read": ["allow", "deny"]}
