"""The relay's verdict: real policies and sessions, and what a client said of its tools."""

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from structlog.testing import capture_logs

from shared.ids import new_id
from shared.jsonrpc.envelope import Envelope, parse
from shared.policy.classes import ToolClass
from shared.policy.document import read_policy
from shared.policy.model import Decision, Effect, Policy
from shared.wire.tools import PinState, ToolWord
from tests.shared.policy.test_rules import RULE_SETS
from tests.shared.policy.texts import policy
from tunnel_relay.clients.link import Link
from tunnel_relay.clients.registry import Registry
from tunnel_relay.gateway.answers import Answer
from tunnel_relay.gateway.judge import Asks, Judge, Narrow, Passed, Verdict
from tunnel_relay.policy.default import default_policy
from tunnel_relay.store.base import Door, Session

ALL = '- {id: all, match: {method: "*"}, effect: allow}'


def a_session(*classes: str, user: str = "ab", door: Door = Door.TOKEN) -> Session:
    made = new_id()
    session = Session(made, made.encode(), user, "agent", "t", "ab", 0.0, 60.0, 60.0, 0.0)
    return replace(session, classes=classes, door=door)


def a_link(**tools: ToolClass | None) -> Link:
    link = Link(Registry(30.0), "t", "0" * 32, 1)
    link.on_tools(
        "ab", [ToolWord(name, kind, "d" * 64, PinState.PINNED) for name, kind in tools.items()]
    )
    return link


def a_judge(rules: str | Policy, *groups: str) -> Judge:
    found = policy(rules) if isinstance(rules, str) else rules
    return Judge(lambda: found, lambda _: tuple(groups))


def asked(method: str, **params: Any) -> Envelope:
    body = {"jsonrpc": "2.0", "id": 7, "method": method, "params": params}
    return parse(json.dumps(body).encode())


def call(tool: str, **args: Any) -> Envelope:
    return asked("tools/call", name=tool, arguments=args)


def verdict(judge: Judge, session: Session, envelope: Envelope, link: Link) -> Verdict:
    return judge.judge(session, envelope, link, b"POST")


def passed(rule: str) -> Passed:
    return Passed(None, Decision(Effect.ALLOW, rule, "rule"))


def said(found: Verdict) -> str:
    assert isinstance(found, Answer)
    assert (found.status, json.loads(found.body)["id"]) == (200, 7)
    return found.body.decode()


def test_the_policy_of_a_new_relay_narrows_nothing() -> None:
    judge = Judge(lambda: read_policy(default_policy(), "policy"), lambda _: ())
    for envelope in (call("ab"), asked("resources/read", uri="a")):
        assert verdict(judge, a_session(), envelope, a_link()) == passed("what-sessions-open")
    assert verdict(judge, a_session(), asked("tools/list"), a_link()) == Passed()
    found = judge.judge(a_session(), None, a_link(), b"GET")
    assert isinstance(found, Passed)
    assert found.edit is not None
    assert found.edit({"jsonrpc": "2.0", "id": 7, "result": {"tools": ENTRIES}}) is None


def test_a_stream_follows_a_policy_that_narrows_after_it_was_opened() -> None:
    """P39: what was true when a stream began is no decision about what it brings later."""
    held = [policy(ALL)]
    judge = Judge(lambda: held[0], lambda _: ())
    found = judge.judge(a_session(), None, a_link(), b"GET")
    assert isinstance(found, Passed)
    assert found.edit is not None
    document = {"jsonrpc": "2.0", "id": 7, "result": {"tools": [{"name": "ab"}, {"name": "b"}]}}
    assert found.edit(document) is None
    held[0] = policy(ALL + "\n- {id: no, match: {tool: b}, effect: deny}")
    changed = found.edit(document)
    assert changed is not None
    assert changed["result"]["tools"] == [{"name": "ab"}]
    held[0] = policy(ALL)
    assert found.edit(document) is None


def test_a_class_is_the_clients_word_and_without_one_the_strictest_counts() -> None:
    rules = ALL + "\n- {id: no, match: {class: admin}, effect: deny}"
    judge, link = a_judge(rules), a_link(ab=ToolClass.ADMIN, b=ToolClass.READ)
    assert "Unknown tool" in said(verdict(judge, a_session(), call("ab"), link))
    assert verdict(judge, a_session(), call("b"), link) == passed("all")
    # Nothing was said yet, as on a link that has just come up.
    assert "Unknown tool" in said(verdict(judge, a_session(), call("b"), a_link()))


def test_a_session_asks_for_more_where_a_user_can_consent_to_it() -> None:
    judge, link = a_judge(ALL), a_link(ab=ToolClass.WRITE, b=ToolClass.READ)
    by_login = a_session("read", door=Door.OAUTH)
    assert verdict(judge, by_login, call("b"), link) == passed("all")
    assert verdict(judge, by_login, call("ab"), link) == Narrow(("read", ToolClass.WRITE))
    by_admin = a_session("read")
    assert "denied by policy" in said(verdict(judge, by_admin, call("ab"), link))
    # What nobody gave a class is the client's to judge: it lets narrowed sessions use none of it.
    assert verdict(judge, by_admin, call("c"), link) == passed("all")


def test_of_rules_that_allow_everything_the_first_by_its_name_is_told() -> None:
    rules = ALL + '\n- {id: an, match: {method: "*"}, effect: allow}'
    rules += "\n- {id: a, match: {tool: ab}, effect: allow}"
    assert verdict(a_judge(rules), a_session(), call("ab"), a_link()) == passed("all")


def test_a_condition_on_arguments_denies_without_hiding_the_tool() -> None:
    rules = "- {id: a, match: {tool: ab}, when: 'args.n < 5', effect: allow}"
    judge, link = a_judge(rules), a_link(ab=ToolClass.WRITE)
    assert verdict(judge, a_session(), call("ab", n=1), link) == passed("a")
    for bad in ({"n": 9}, {"n": "1"}, {}):
        assert "denied by policy" in said(verdict(judge, a_session(), call("ab", **bad), link))


def test_a_rule_that_asks_is_for_calls_of_tools() -> None:
    """P31."""
    rules = "- {id: a, match: {method: '*'}, effect: require_approval, approvers: {group: [g]}}"
    judge, link = a_judge(rules), a_link(ab=ToolClass.WRITE)
    found = verdict(judge, a_session(), call("ab"), link)
    assert isinstance(found, Asks)
    assert found.tool == link.tool("ab", "ab")
    for method in ("resources/read", "prompts/get", "completion/complete", "subscriptions/listen"):
        assert "-31005" in said(verdict(judge, a_session(), asked(method, name="a"), link))


def test_groups_are_those_of_now() -> None:
    """S30."""
    groups: list[str] = ["ops"]
    found = policy("- {id: a, match: {group: ops}, effect: allow}")
    judge = Judge(lambda: found, lambda _: tuple(groups))
    session, link = a_session(), a_link(ab=ToolClass.READ)
    assert verdict(judge, session, call("ab"), link) == passed("a")
    groups[:] = ["sales"]
    assert "Unknown tool" in said(verdict(judge, session, call("ab"), link))
    groups[:] = ["ops"]
    assert verdict(judge, session, call("ab"), link) == passed("a")


ENTRIES: list[Any] = [{"name": "ab"}, {"name": "b"}, {"name": 5}, {}, "b"]
TOOLS = st.dictionaries(st.sampled_from(["ab", "b"]), st.none() | st.sampled_from(list(ToolClass)))


@settings(max_examples=200)
@given(rules=RULE_SETS, tools=TOOLS, arg=st.none() | st.integers(0, 2), resumed=st.booleans())
def test_what_a_list_shows_and_what_a_call_may_do_always_agree(
    rules: Any, tools: dict[str, ToolClass | None], arg: int | None, resumed: bool
) -> None:
    """P33; what the classes of a session leave out, the client takes off the list."""
    judge, session, link = a_judge(Policy(rules, "d"), "ab"), a_session(), a_link(**tools)
    envelope = None if resumed else asked("tools/list")
    found = judge.judge(session, envelope, link, b"GET" if resumed else b"POST")
    assert isinstance(found, Passed)
    document = {"jsonrpc": "2.0", "id": 7, "result": {"tools": ENTRIES}}
    changed = None if found.edit is None else found.edit(document)
    names = [
        entry["name"]
        for entry in (changed or document)["result"]["tools"]  # type: ignore[index]
        if isinstance(entry, dict) and "name" in entry
    ]
    for tool in ("ab", "b"):
        made = verdict(judge, session, call(tool, **({} if arg is None else {"n": arg})), link)
        if isinstance(made, Passed | Asks):
            assert tool in names
        assert (tool in names) or "Unknown tool" in said(made)
        if tool in names and isinstance(made, Answer):
            assert "Unknown tool" not in said(made)


@given(rules=RULE_SETS, tools=TOOLS)
def test_a_rule_that_denies_wins_wherever_it_stands(
    rules: Any, tools: dict[str, ToolClass | None]
) -> None:
    """P36."""
    (no,) = policy("- {id: no, match: {method: '*'}, effect: deny}").rules
    for place in range(len(rules) + 1):
        judge = a_judge(Policy((*rules[:place], no, *rules[place:]), "d"))
        assert isinstance(verdict(judge, a_session(), call("ab"), a_link(**tools)), Answer)


@pytest.mark.parametrize("http", [b"GET", b"DELETE"])
def test_without_a_message_only_a_stream_is_filtered(http: bytes) -> None:
    judge = a_judge("- {id: a, match: {tool: b}, effect: allow}")
    found = judge.judge(a_session(), None, a_link(), http)
    assert isinstance(found, Passed)
    assert (found.edit is not None) == (http == b"GET")


def test_an_agent_that_is_denied_again_and_again_writes_few_lines() -> None:
    judge, link, session = (
        a_judge(ALL + "\n- {id: n, match: {tool: b}, effect: deny}"),
        a_link(),
        a_session(),
    )
    with capture_logs() as lines:
        for _ in range(5000):
            said(verdict(judge, session, call("b"), link))
    assert 0 < len(lines) < 1000
