"""Whether a policy lets anybody call anything, whoever that is."""

import pytest

from shared.policy.classes import ToolClass
from shared.policy.document import read_policy
from tunnel_client.doctor.reach import reachable

READ, WRITE = ToolClass.READ, ToolClass.WRITE
TOOLS = [("list_files", READ), ("remove_file", WRITE)]
ALL = '  - {id: a, match: {method: "*"}, effect: allow}'
ASKS = "require_approval, approvers: {group: ops}"
HEAD = "version: 1\nrules:\n"


@pytest.mark.parametrize(
    ("rules", "count"),
    [
        (ALL, 2),
        ("  - {id: a, match: {server: other}, effect: allow}", 0),
        ("  - {id: a, match: {class: read}, effect: allow}", 1),
        (f"  - {{id: a, match: {{group: x, class: write}}, effect: {ASKS}}}", 1),
        (f"{ALL}\n  - {{id: b, match: {{user: eve}}, effect: deny}}", 2),
        (f"{ALL}\n  - {{id: b, match: {{server: files}}, effect: deny}}", 0),
    ],
)
def test_the_tools_that_somebody_could_call_are_counted(rules: str, count: int) -> None:
    policy = read_policy(HEAD + rules + "\n", "policy.yaml")
    assert reachable(policy, "files", TOOLS) == count
