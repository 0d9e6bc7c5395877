"""The map says of each tool and method what could become of a call."""

from shared.policy.classes import ToolClass
from shared.policy.model import Effect
from shared.policy.permissions import ANY, permission_map
from tests.shared.policy.texts import ALICE, policy

RULES = policy("""\
- {id: read, match: {class: read}, effect: allow}
- {id: pay, match: {tool: pay}, when: "args.n < 5", effect: allow}
- {id: big, match: {tool: pay}, effect: require_approval, approvers: {group: g}}
- {id: no, match: {tool: drop_*}, effect: deny}
- {id: prompts, match: {prompt: "*"}, effect: allow}
""")


def test_tools_come_by_server_then_classes_then_methods() -> None:
    tools = [
        ("hr", "get", ToolClass.READ),
        ("crm", "pay", ToolClass.WRITE),
        ("crm", "drop_all", ToolClass.READ),
    ]
    rows = permission_map(RULES, ALICE, tools)
    verdicts = {(row.server, row.what, row.tool_class): row.verdict for row in rows}
    assert [row.server for row in rows] == sorted(row.server for row in rows)
    assert verdicts["crm", "pay", ToolClass.WRITE] == "depends: require_approval, deny"
    assert verdicts["crm", "drop_all", ToolClass.READ] == "deny"
    assert verdicts["hr", "get", ToolClass.READ] == "allow"
    assert verdicts["hr", f"{ANY} tool", ToolClass.READ] == "allow"
    assert verdicts["hr", f"{ANY} tool", ToolClass.WRITE] == "deny"
    assert verdicts["hr", "prompts/get", None] == "allow"
    assert verdicts["hr", "sampling/createMessage", None] == "deny"


def test_a_server_without_known_tools_is_shown_by_class() -> None:
    rows = permission_map(RULES, ALICE, [], ["new"])
    assert {row.server for row in rows} == {"new"}
    first = rows[0]
    assert first.as_data() == {
        "server": "new",
        "what": f"{ANY} tool",
        "class": "read",
        "effects": [Effect.ALLOW],
        "rules": ["read"],
    }
