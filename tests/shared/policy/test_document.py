"""A policy's text becomes rules, or the whole list of what is wrong with it."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.configfile import ConfigError
from shared.keys import PrivateKey, encode_public
from shared.policy.classes import ToolClass
from shared.policy.document import read_policy
from shared.policy.model import Approvers, Effect
from tests.helpers.passkeys import SoftPasskey
from tests.shared.policy.texts import policy

KEY = encode_public(PrivateKey.generate().public)
WHOLE = f"""\
version: 1
default: deny
environment: prod
approver_keys: {{alice: "{KEY}"}}
rules:
  - id: refund
    match: {{server: [billing, "shop/*"], tool: refund_create, class: [write, ext*], env: prod}}
    when: 'args.amount <= 5000'
    effect: require_approval
    approvers: {{group: [finance], user: bob, count: 2, not_requester: false, ttl: 1h}}
  - id: mail
    match: {{tool: mail}}
    recipients: {{args: [to], domains: [corp.com]}}
    effect: allow
"""


EMPTY = "an empty list matches nothing; leave the key out, or say what matches"


def faults(text: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        read_policy(text, "p.yaml")
    return [str(problem) for problem in caught.value.problems]


def fault(rule: str, top: str = "") -> str:
    [found] = faults(f"version: 1\n{top}\nrules:\n- {rule}\n")
    return found.removeprefix("p.yaml:")


def test_a_whole_policy_is_read() -> None:
    found = read_policy(WHOLE, "p.yaml")
    refund, mail = found.rules
    assert (refund.id, refund.effect, refund.line) == ("refund", Effect.REQUIRE_APPROVAL, 6)
    assert refund.match.server == ("billing", "shop/*")
    assert refund.match.classes == frozenset({ToolClass.WRITE, ToolClass.EXTERNAL_SEND})
    assert refund.approvers == Approvers(("finance",), ("bob",), 2, False, 3600.0)
    assert refund.when is not None
    assert mail.recipients is not None
    assert found.environment == "prod"
    assert found.approver_keys == {"alice": KEY}


def test_approvers_are_careful_by_default() -> None:
    found = policy("- {id: a, match: {}, effect: require_approval, approvers: {group: g}}")
    assert found.rules[0].approvers == Approvers(("g",), (), 1, True, 900.0)


def test_the_digest_is_of_the_meaning() -> None:
    same = WHOLE.replace("default: deny\n", "").replace(
        "version: 1", "# note\ndefault: deny\nversion: 1"
    )
    assert read_policy(same, "q.yaml").digest == read_policy(WHOLE, "p.yaml").digest
    other = WHOLE.replace("5000", "5001")
    assert read_policy(other, "p.yaml").digest != read_policy(WHOLE, "p.yaml").digest
    assert len(read_policy(WHOLE, "p.yaml").digest) == 64


def test_every_fault_is_told_at_once_in_order() -> None:
    text = (
        "version: 2\nrulez: []\nrules:\n- id: a\n  match: {sever: x, tool: []}\n"
        "  efect: allow\n  effect: alow\n- id: a\n  match: {}\n  effect: require_approval\n"
        "  when: argz.x == 1\n"
    )
    assert faults(text) == [
        "p.yaml:1: version: only version 1 is known",
        "p.yaml:2: rulez: unknown key; did you mean rules?",
        "p.yaml:5: rules[0].match.sever: unknown key; did you mean rules[0].match.server?",
        f"p.yaml:5: rules[0].match.tool: {EMPTY}",
        "p.yaml:6: rules[0].efect: unknown key; did you mean rules[0].effect?",
        "p.yaml:7: rules[0].effect: not known; did you mean allow?",
        "p.yaml:8: rules[1]: require_approval needs approvers: {group: [...], ttl: 15m}",
        "p.yaml:8: rules[1].id: taken by the rule in line 4",
        "p.yaml:11: rules[1].when: unknown name argz; did you mean args?",
    ]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("- a\n", "is a map with the keys version"),
        ("just words", "is a map with the keys version"),
        ("rules: []", "version: is required"),
        ("version: 1", "rules: is required"),
        ("version: 1\nrules: {}", "is a list of rules"),
        ("version: 1\ndefault: allow\nrules: []", "only deny"),
        ("version: 1\nenvironment: [a]\nrules: []", "is text"),
        ("version: 1\napprover_keys: [a]\nrules: []", "is a map of names"),
        ("version: 1\napprover_keys: {}\nrules: []", "names nobody"),
        ("version: 1\napprover_keys: {a: ed25519-abc}\nrules: []", "is not a public key"),
        (f"version: 1\napprover_keys: {{a: {KEY}, b: {KEY}}}\nrules: []", "under another name"),
    ],
)
def test_a_document_of_another_shape_is_refused(text: str, said: str) -> None:
    assert said in "\n".join(faults(text))


def test_no_rules_at_all_is_a_policy_that_denies() -> None:
    """Row P11: absence denies."""
    assert read_policy("version: 1\nrules: []\n", "p.yaml").rules == ()


@pytest.mark.parametrize(
    ("rule", "said"),
    [
        ("{match: {}, effect: allow}", "id: is required"),
        ("{id: 'a b', match: {}, effect: allow}", "an id is"),
        ("{id: a, effect: allow}", "match: is required"),
        ("{id: a, match: {}}", "effect: is required"),
        ("{id: a, match: [], effect: allow}", "match: is a map"),
        ("{id: a, match: {group: []}, effect: allow}", "an empty list"),
        ("{id: a, match: {tool: ''}, effect: allow}", "not empty"),
        ("{id: a, match: {tool: }, effect: allow}", "not empty"),
        ("{id: a, match: {tool: [a, '']}, effect: allow}", "tool[1]: is text, and not empty"),
        ("{id: a, match: {class: raed}, effect: allow}", "did you mean read?"),
        ("{id: a, match: {class: 'x*'}, effect: allow}", "no class fits x*"),
        ("{id: a, match: {env: prod}, effect: allow}", "needs an environment"),
        ("{id: a, match: {method: tools/cal}, effect: allow}", "did you mean tools/call?"),
        ("{id: a, match: {method: tools/list}, effect: deny}", "needs no rule: its result"),
        ("{id: a, match: {method: prompts/get, tool: x}, effect: deny}", "has no tool to match"),
        ("{id: a, match: {prompt: x, tool: x}, effect: deny}", "does not go with tool"),
        ("{id: a, match: {tool: " + "x" * 600 + "}, effect: deny}", "longer than 512"),
        ("{id: a, match: {}, effect: allow, approvers: {group: g}}", "require_approval only"),
        (
            "{id: a, match: {}, effect: deny, recipients: {args: to, domains: a.b}}",
            "goes with allow",
        ),
        ("{id: a, match: {}, effect: allow, recipients: {args: to}}", "domains: is required"),
        ("{id: a, match: {}, effect: allow, recipients: {args: to, domains: '@x'}}", "looks like"),
        ("{id: a, match: {}, effect: allow, when: [x]}", "is text"),
        ("{id: a, match: {}, effect: allow, when: 'args.'}", "not CEL"),
    ],
)
def test_a_rule_that_cannot_be_meant_is_refused(rule: str, said: str) -> None:
    assert said in fault(rule)


@pytest.mark.parametrize(
    ("approvers", "said"),
    [
        ("{count: 1}", "name who may approve"),
        ("{group: g, count: 0}", "whole number from 1 to 10"),
        ("{group: g, count: '\uff11'}", "whole number"),
        ("{group: g, count: 1.0}", "whole number"),
        ("{group: g, not_requester: yes}", "valid here: false, true"),
        ("{group: g, ttl: 15}", "durations look like"),
        ("{group: g, ttl: 2d}", "longer than a day"),
        ("{user: [bob, bob], count: 2}", "more approvals than there are users"),
        ("{grup: g, user: u}", "did you mean"),
    ],
)
def test_approvers_that_cannot_be_meant_are_refused(approvers: str, said: str) -> None:
    assert said in fault(
        f"{{id: a, match: {{}}, effect: require_approval, approvers: {approvers}}}"
    )


@given(
    cut=st.tuples(st.integers(0, len(WHOLE)), st.integers(0, 40)),
    put=st.text("abt:-[]{}*\"' \n1,", max_size=12),
)
@settings(max_examples=300, deadline=None)
def test_a_damaged_policy_is_a_policy_or_a_list_of_faults(cut: tuple[int, int], put: str) -> None:
    """Row P11."""
    start, length = cut
    try:
        found = read_policy(WHOLE[:start] + put + WHOLE[start + length :], "p.yaml")
    except ConfigError:
        return
    assert all(rule.match.methods for rule in found.rules)


def test_a_passkey_is_an_approvers_key_and_one_passkey_one_approver() -> None:
    pia = SoftPasskey.make().public
    text = f"version: 1\napprover_keys: {{pia: {pia.text()}, paul: {KEY}}}\nrules: []"
    assert read_policy(text, "p").approver_keys == {"pia": pia.text(), "paul": KEY}
    twin = replace(pia, origin=pia.origin + ":8443").text()
    for key, wrong in ((twin, "under another name"), ("passkey:es256:x:y", "nor a passkey")):
        again = f"version: 1\napprover_keys: {{pia: {pia.text()}, eve: {key}}}\nrules: []"
        with pytest.raises(ConfigError, match=wrong):
            read_policy(again, "p")
