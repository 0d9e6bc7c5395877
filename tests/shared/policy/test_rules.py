"""What the rules come to, for one call and over random policies."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.policy.classes import ToolClass
from shared.policy.conditions import Condition
from shared.policy.methods import FREE, RULED
from shared.policy.model import Action, Approvers, Effect, Match, Policy, Rule, Subject
from shared.policy.rules import decide, outlook, visible
from tests.shared.policy.texts import ALICE, call, policy

READ_CRM = "- {id: read, match: {server: crm, class: read}, effect: allow}"


def effect(rules: str, action: Action, subject: Subject = ALICE) -> Effect:
    return decide(policy(rules), subject, action).effect


def test_what_no_rule_allows_is_denied() -> None:
    assert decide(policy(READ_CRM), ALICE, call(server="hr")) == (
        Effect.DENY,
        None,
        "no_rule",
        None,
    )


def test_a_rule_that_fits_allows_and_is_named() -> None:
    assert decide(policy(READ_CRM), ALICE, call()) == (Effect.ALLOW, "read", "rule", None)


def test_a_rule_that_asks_says_whom() -> None:
    asks = "- {id: a, match: {}, effect: require_approval, approvers: {group: ops, ttl: 5m}}"
    decision = decide(policy(asks), ALICE, call())
    assert decision.effect is Effect.REQUIRE_APPROVAL
    assert decision.approvers == Approvers(groups=("ops",), ttl=300.0)


def test_of_two_rules_that_ask_the_one_that_asks_for_more_counts() -> None:
    text = "- {{id: {}, match: {{}}, effect: require_approval, approvers: {{group: g, count: {}}}}}"
    for first, second in ((1, 2), (2, 1)):
        found = policy(text.format("a", first) + "\n" + text.format("b", second))
        approvers = decide(found, ALICE, call()).approvers
        assert approvers is not None
        assert approvers.count == 2


@pytest.mark.parametrize(
    ("match", "subject"),
    [
        ("group: support", ALICE),
        ("user: al*", ALICE),
        ("agent: [other, claude]", ALICE),
        ("group: '*'", ALICE),
    ],
)
def test_a_rule_can_ask_who_calls(match: str, subject: Subject) -> None:
    rules = f"- {{id: a, match: {{{match}}}, effect: allow}}"
    assert effect(rules, call(), subject) is Effect.ALLOW
    assert effect(rules, call(), Subject("bob", frozenset(), "cursor")) is Effect.DENY


def test_a_rule_for_an_environment_holds_there_only() -> None:
    rules = READ_CRM + "\n- {id: no, match: {env: prod}, effect: deny}"
    assert decide(policy(rules, "environment: prod"), ALICE, call()).effect is Effect.DENY
    assert decide(policy(rules, "environment: test"), ALICE, call()).effect is Effect.ALLOW


class TestP01Case:
    """Row P01: names fit exactly or not at all."""

    def test_a_tool_in_other_case_is_another_tool(self) -> None:
        rules = "- {id: a, match: {tool: delete_user}, effect: allow}"
        assert effect(rules, call("delete_user")) is Effect.ALLOW
        assert effect(rules, call("Delete_User")) is Effect.DENY


class TestP02OddNames:
    """Row P02: a name outside the narrow alphabet is never allowed."""

    @pytest.mark.parametrize(
        "name",
        [
            *(
                "d\u0435lete",
                "\uff44elete",
                "de\u0301lete",
                "de\u200blete",
                "\u202edelete",
                "delete\n",
                "",
            ),
            *("a b", "a/b", "a" * 129, "a\x00", "á"),
        ],
    )
    def test_it_is_denied_even_where_all_is_allowed(self, name: str) -> None:
        found = policy("- {id: a, match: {}, effect: allow}")
        assert decide(found, ALICE, call(name)) == (Effect.DENY, None, "bad_name", None)
        assert not visible(found, ALICE, call(name))

    def test_a_call_without_a_name_is_denied(self) -> None:
        assert effect("- {id: a, match: {}, effect: allow}", call(None)) is Effect.DENY


class TestP04Separators:
    """Row P04: the server is a value of its own and is never cut out of a name."""

    def test_a_server_and_a_tool_are_not_joined(self) -> None:
        rules = "- {id: a, match: {server: a, tool: b__c}, effect: allow}"
        assert effect(rules, call("b__c", "a")) is Effect.ALLOW
        assert effect(rules, call("c", "a__b")) is Effect.DENY

    def test_a_tunnel_and_an_upstream_are_two_names(self) -> None:
        rules = "- {id: a, match: {server: shop/crm}, effect: allow}"
        assert effect(rules, call(server="shop/crm")) is Effect.ALLOW
        assert effect(rules, call(server="hr/crm")) is Effect.DENY
        assert effect(rules, call(server="crm")) is Effect.DENY

    def test_an_upstream_alone_means_it_in_every_tunnel(self) -> None:
        rules = "- {id: a, match: {server: crm}, effect: allow}"
        assert effect(rules, call(server="shop/crm")) is Effect.ALLOW
        assert effect(rules, call(server="crm/hr")) is Effect.DENY


class TestP12Classes:
    """Row P12: a class is what the operator said; without one nothing is taken for harmless."""

    def test_a_tool_without_a_class_is_allowed_by_no_rule_about_classes(self) -> None:
        every = "- {id: a, match: {class: '*'}, effect: allow}"
        assert effect(every, call(tool_class=None)) is Effect.DENY

    def test_a_tool_without_a_class_meets_each_rule_that_denies_a_class(self) -> None:
        rules = (
            "- {id: a, match: {}, effect: allow}\n- {id: b, match: {class: admin}, effect: deny}"
        )
        assert effect(rules, call(tool_class=None)) is Effect.DENY
        assert effect(rules, call()) is Effect.ALLOW


class TestP31OtherMethods:
    """Row P31: every way to the same effect has a rule of its own."""

    @pytest.mark.parametrize("method", sorted(RULED))
    def test_a_rule_about_tools_opens_nothing_else(self, method: str) -> None:
        action = Action("crm", method, "x", ToolClass.READ, {})
        expected = Effect.ALLOW if method == "tools/call" else Effect.DENY
        assert effect("- {id: a, match: {}, effect: allow}", action) is expected

    @pytest.mark.parametrize("method", sorted(RULED))
    def test_a_star_for_the_method_means_all_of_them(self, method: str) -> None:
        rules = "- {id: a, match: {method: '*'}, effect: allow}"
        assert effect(rules, Action("crm", method, "x", None, {})) is Effect.ALLOW

    @pytest.mark.parametrize("method", sorted(FREE))
    def test_what_needs_no_rule_is_allowed_without_one(self, method: str) -> None:
        rules = "- {id: a, match: {method: '*'}, effect: deny}"
        assert effect(rules, Action("crm", method, None, None, None)) is Effect.ALLOW

    @pytest.mark.parametrize("method", ["tools/Call", "resources/write", "", "tasks/run"])
    def test_a_method_nobody_knows_is_denied(self, method: str) -> None:
        found = policy("- {id: a, match: {method: '*'}, effect: allow}")
        assert decide(found, ALICE, Action("crm", method, "x", None, {})).why == "unknown_method"

    def test_prompts_and_resources_have_names_of_their_own(self) -> None:
        rules = (
            "- {id: a, match: {prompt: greet}, effect: allow}\n"
            "- {id: b, match: {resource: 'file:///pub/*'}, effect: allow}"
        )
        for method, name, expected in (
            ("prompts/get", "greet", Effect.ALLOW),
            ("prompts/get", "file:///pub/a", Effect.DENY),
            ("resources/read", "file:///pub/a", Effect.ALLOW),
            ("resources/subscribe", "file:///pub/a", Effect.ALLOW),
            ("resources/read", "file:///etc/passwd", Effect.DENY),
            ("completion/complete", "greet", Effect.DENY),
            ("tools/call", "greet", Effect.DENY),
        ):
            assert effect(rules, Action("crm", method, name, None, {})) is expected


class TestP06TypeConfusion:
    """Row P06: an amount that is no plain number never slips past a rule about amounts."""

    RULES = """\
- {id: small, match: {tool: pay}, when: "type(args.amount) == int && args.amount <= 1000",
   effect: allow}
- {id: big, match: {tool: pay}, when: "args.amount > 1000", effect: deny}
"""

    @pytest.mark.parametrize(
        "amount",
        [
            *(
                "5000",
                [5000],
                True,
                None,
                5e3,
                5000.5,
                2**70,
                -(2**70),
                "\u0665\u0660\u0660\u0660",
                {"__entity": 1},
            ),
            *(5000, [], "", float("inf"), float("nan"), 10**400),
        ],
        ids=lambda value: f"{type(value).__name__}-{str(value)[:12]}",
    )
    def test_it_is_denied(self, amount: Any) -> None:
        assert effect(self.RULES, call("pay", amount=amount)) is Effect.DENY

    def test_a_small_whole_number_is_allowed(self) -> None:
        assert effect(self.RULES, call("pay", amount=900)) is Effect.ALLOW


class TestP07Missing:
    """Row P07: an argument that a rule speaks of and a call leaves out."""

    def test_it_is_denied_as_a_fault(self) -> None:
        found = policy(TestP06TypeConfusion.RULES)
        assert decide(found, ALICE, call("pay")).why == "policy_error"
        assert decide(found, ALICE, call("pay")._replace(args=None)).why == "policy_error"


@pytest.mark.parametrize("args", [[], ["amount"], "amount", 0, True])
def test_arguments_that_are_no_object_are_denied_where_a_rule_asks(args: Any) -> None:
    found = policy(TestP06TypeConfusion.RULES)
    assert decide(found, ALICE, call("pay")._replace(args=args)).why == "policy_error"
    mail = policy("- {id: a, match: {}, recipients: {args: to, domains: a.b}, effect: allow}")
    assert decide(mail, ALICE, call("pay")._replace(args=args)).why == "policy_error"


class Counted(dict[str, Any]):
    """Arguments that count how often they are walked."""

    walked = 0

    def values(self) -> Any:
        self.walked += 1
        return super().values()


@pytest.mark.parametrize(
    ("text", "why"), [("a", "rule"), ("a" * 70_000, "policy_error")], ids=["small", "large"]
)
def test_many_rules_that_ask_walk_the_arguments_once(text: str, why: str) -> None:
    """Row P09: a large call does not cost each rule anew."""
    rule = "- {{id: a{}, match: {{}}, when: 'has(args.s)', effect: allow}}"
    found = policy("\n".join(rule.format(number) for number in range(20)))
    args = Counted(s=text)
    decision = decide(found, ALICE, call()._replace(args=args))
    assert (decision.why, args.walked) == (why, 1)


def test_bounds_are_those_of_each_rule_and_one_that_denies_wins() -> None:
    walks = "- {id: a, match: {}, when: 'args.l.all(x, x == 1)', effect: allow}\n"
    denies = "- {id: b, match: {}, when: 'has(args.l)', effect: deny}"
    many = call(l=[1] * 200)
    assert decide(policy(walks), ALICE, many).why == "policy_error"
    assert decide(policy(walks + denies), ALICE, many)[:3] == (Effect.DENY, "b", "rule")
    too_many = call(l=[1] * 70_000)
    assert decide(policy(walks + denies), ALICE, too_many).why == "policy_error"


class TestP35Drafts:
    """Row P35: a draft that would be sent is not a draft."""

    RULES = """\
- {id: drafts, match: {class: draft}, effect: allow}
- {id: unsent, match: {tool: mail_draft}, when: "has(args.send) && args.send != false",
   effect: deny}
"""

    @pytest.mark.parametrize("send", [True, "true", 1, [True], None])
    def test_it_is_denied(self, send: Any) -> None:
        action = call("mail_draft", tool_class=ToolClass.DRAFT, send=send)
        assert effect(self.RULES, action) is Effect.DENY

    def test_a_draft_is_allowed(self) -> None:
        action = call("mail_draft", tool_class=ToolClass.DRAFT)
        assert effect(self.RULES, action) is Effect.ALLOW
        assert effect(self.RULES, call("mail_draft", tool_class=ToolClass.DRAFT, send=False)) is (
            Effect.ALLOW
        )


class TestP38Faults:
    """Row P38: a rule that cannot be asked denies, whatever its effect."""

    @pytest.mark.parametrize("kind", ["allow", "deny"])
    @pytest.mark.parametrize("when", ["args.n", "1 / 0 == 1", "args.missing", "args.n + 1"])
    def test_a_fault_in_any_rule_that_fits_denies(self, kind: str, when: str) -> None:
        rules = f"- {{id: a, match: {{}}, effect: allow}}\n- {{id: b, match: {{}}, when: '{when}', "
        found = policy(f"{rules}effect: {kind}}}")
        assert decide(found, ALICE, call(n=1)) == (Effect.DENY, "b", "policy_error", None)

    def test_a_fault_in_a_rule_about_something_else_does_not_matter(self) -> None:
        rules = READ_CRM + "\n- {id: b, match: {server: hr}, when: args.x, effect: allow}"
        assert effect(rules, call()) is Effect.ALLOW


# Over random policies ---------------------------------------------------------------------------

EFFECTS = st.sampled_from(list(Effect))
SOME = st.sampled_from
CONDITIONS = ("args.n > 1", "args.n == 0", "true", "false", "args.gone", "args.n")
PATTERNS = ("a*", "*b", "ab", "*", "?b", "zz")


@st.composite
def rules_(draw: st.DrawFn, number: int) -> Rule:
    which = draw(EFFECTS)

    def maybe(values: st.SearchStrategy[Any]) -> Any:
        return draw(st.none() | values)

    pattern = SOME(PATTERNS).map(lambda one: (one,))
    when = maybe(SOME(CONDITIONS))
    return Rule(
        f"r{number}",
        which,
        Match(
            draw(SOME([frozenset({"tools/call"}), RULED, frozenset({"prompts/get"})])),
            server=maybe(pattern),
            tool=maybe(pattern),
            classes=maybe(st.frozensets(SOME(list(ToolClass)), min_size=1)),
            group=maybe(pattern),
            user=maybe(pattern),
        ),
        when=None if when is None else Condition(when),
        approvers=Approvers(("g",), count=draw(st.integers(1, 3)))
        if which == "require_approval"
        else None,
    )


RULE_SETS = st.integers(0, 5).flatmap(lambda n: st.tuples(*(rules_(i) for i in range(n))))
SUBJECTS = st.builds(
    Subject, SOME(["ab", "bb", "c"]), st.frozensets(SOME(["ab", "zz"])), st.just("agent")
)
ACTIONS = st.builds(
    Action,
    SOME(["ab", "t/ab", "b"]),
    SOME(["tools/call", "prompts/get", "ping"]),
    SOME(["ab", "b", "é"]),
    st.none() | SOME(list(ToolClass)),
    st.none() | st.fixed_dictionaries({}, optional={"n": SOME([0, 1, 2, "2", True])}),
)


@given(rules=RULE_SETS, subject=SUBJECTS, action=ACTIONS)
@settings(max_examples=300, deadline=None)
def test_what_is_hidden_is_denied_and_what_is_permitted_is_shown(
    rules: tuple[Rule, ...], subject: Subject, action: Action
) -> None:
    """Row P33: the filter of lists and the check of calls agree."""
    found = Policy(rules, "d")
    permitted = decide(found, subject, action).effect is not Effect.DENY
    assert not permitted or visible(found, subject, action)
    assert visible(found, subject, action) == visible(found, subject, action._replace(args=None))
    effects, _ = outlook(found, subject, action)
    assert decide(found, subject, action).effect in effects
    assert visible(found, subject, action) == (effects != [Effect.DENY])


@given(rules=RULE_SETS, subject=SUBJECTS, action=ACTIONS, data=st.data())
@settings(max_examples=300, deadline=None)
def test_the_order_of_the_rules_changes_nothing_and_deny_wins(
    rules: tuple[Rule, ...], subject: Subject, action: Action, data: st.DataObject
) -> None:
    """Row P36: deny beats require_approval beats allow, wherever they stand."""
    decision = decide(Policy(rules, "d"), subject, action)
    shuffled = tuple(data.draw(st.permutations(rules)))
    again = decide(Policy(shuffled, "d"), subject, action)
    assert (again.effect, again.approvers) == (decision.effect, decision.approvers)
    stop = Rule("stop", Effect.DENY, Match(RULED))
    place = data.draw(st.integers(0, len(rules)))
    stopped = Policy((*rules[:place], stop, *rules[place:]), "d")
    if action.method in RULED:
        assert decide(stopped, subject, action).effect is Effect.DENY
        assert not visible(stopped, subject, action)


@given(rules=RULE_SETS, calls=st.lists(st.tuples(SUBJECTS, ACTIONS), min_size=1, max_size=20))
@settings(max_examples=200, deadline=None)
def test_what_is_remembered_is_what_would_be_found_anew(
    rules: tuple[Rule, ...], calls: list[tuple[Subject, Action]]
) -> None:
    """Row P39: a verdict serves no other user, arguments or policy."""
    kept = Policy(rules, "d")
    for subject, action in calls:
        assert decide(kept, subject, action) == decide(Policy(rules, "d"), subject, action)
