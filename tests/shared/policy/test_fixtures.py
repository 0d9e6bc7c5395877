"""Fixtures say what is expected, and what came instead."""

import pytest

from shared.configfile import ConfigError
from shared.policy.classes import ToolClass
from shared.policy.fixtures import read_fixtures, run_fixtures
from shared.policy.model import Effect
from tests.shared.policy.texts import policy

TEXT = """\
- {user: al, groups: [support], agent: claude, server: crm, tool: get, class: read, expect: allow}
- user: bob
  agent: claude
  server: crm
  tool: pay
  args: {amount: 5, text: "5", deep: [1.5, -2e1, true, null, no, {a: 007}]}
  expect: allow
- {user: bob, agent: c, server: crm, method: prompts/get, name: greet, expect: deny}
- {user: bob, agent: c, server: crm, method: ping, expect: allow}
"""
RULES = policy("- {id: read, match: {class: read, group: support}, effect: allow}")


def test_arguments_have_the_types_of_json() -> None:
    fixture = read_fixtures(TEXT, "f.yaml")[1]
    assert fixture.action.args == {
        "amount": 5,
        "text": "5",
        "deep": [1.5, -20.0, True, None, "no", {"a": "007"}],
    }
    assert fixture.line == 2


def test_each_is_decided_and_compared() -> None:
    results = run_fixtures(RULES, read_fixtures(TEXT, "f.yaml"))
    assert [each.passed for each in results] == [True, False, True, True]
    assert results[0].fixture.action.tool_class is ToolClass.READ
    assert results[1].as_data() == {
        "line": 2,
        "what": "bob by claude: crm/pay",
        "expect": Effect.ALLOW,
        "effect": Effect.DENY,
        "rule": None,
        "why": "no_rule",
        "passed": False,
    }
    assert results[2].what == "bob by c: crm/prompts/get greet"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{}", "is a list of calls"),
        ("[]", "is a list of calls"),
        ("- x", "is a map with the keys"),
        ("- {user: a, agent: b, server: c, tool: d}", "expect: is required"),
        ("- {user: a, agent: b, server: c, tool: d, expect: maybe}", "not known"),
        ("- {user: a, agent: b, server: c, expect: deny}", "name a tool"),
        ("- {user: a, agent: b, server: c, tool: d, method: ping, expect: deny}", "does not go"),
        ("- {user: a, agent: b, server: c, method: pong, expect: deny}", "did you mean ping?"),
        ("- {user: a, agent: b, server: c, tool: d, class: x, expect: deny}", "valid here"),
        ("- {user: a, agent: b, server: c, tool: d, args: [1], expect: deny}", "map of arguments"),
        ("- {usr: a, user: a, agent: b, server: c, tool: d, expect: deny}", "did you mean"),
    ],
)
def test_a_fixture_that_cannot_be_meant_is_refused(text: str, said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read_fixtures(text, "f.yaml")
    assert said in str(caught.value)
