"""The private side's verdict: real pins, policies and grants; nothing is asked of anybody else."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from structlog.testing import capture_logs

from shared.grant import Grant
from shared.jsonrpc.envelope import parse
from shared.jsonrpc.results import EditError
from shared.policy.classes import ToolClass
from shared.policy.model import Effect, Policy
from tests.shared.policy.test_rules import RULE_SETS
from tests.shared.policy.texts import policy
from tests.tunnel_client.catalog.test_catalog import item
from tunnel_client.asked import READ as READ_NAMES
from tunnel_client.asked import Asked, Forbids, reader
from tunnel_client.catalog.catalog import Catalog
from tunnel_client.catalog.definitions import Kind
from tunnel_client.catalog.pins import Pin, Pins, editing
from tunnel_client.judge import Asks, Judge, Passed, Refused, Verdict
from tunnel_client.upstream.base import UpstreamRequest

ALL = '- {id: all, match: {method: "*"}, effect: allow}'
ASK = """\
- {id: all, match: {method: "*"}, effect: allow}
- {id: ask, match: {class: write}, effect: require_approval, approvers: {group: [ops]}}
"""
ADD: dict[str, Any] = {
    "name": "ab",
    "inputSchema": {"type": "object", "properties": {"n": {"type": "integer"}}},
}
READ: dict[str, Any] = {"name": "b", "inputSchema": {"type": "object"}}


def a_grant(*classes: ToolClass, user: str = "ab", groups: Sequence[str] = ()) -> Grant:
    return Grant(
        *("0" * 32, user, "agent", "t", "ab", tuple(groups), classes, 0.0, 1e10, "0" * 32, 1)
    )


def pinned(folder: Path, pins: dict[str, ToolClass | None], *entries: dict[str, Any]) -> None:
    with editing(folder) as table:
        table.clear()
        for entry in entries:
            made = item(entry)
            if made.name in pins:
                found = Pin(made.name, made.sha256, pins[made.name], made.definition, 1, "kim")
                table["ab", Kind.TOOL, made.name] = found


def judge(folder: Path, rules: str | Policy, *, off: bool = False, **pins: ToolClass) -> Judge:
    pinned(folder, dict(pins), ADD, READ)
    holds = policy(rules) if isinstance(rules, str) else rules
    return Judge(lambda: holds, Catalog(Pins(folder), ["ab"], ["ab"] if off else []))


def a_request(method: str, http: str = "POST", **params: Any) -> UpstreamRequest:
    body = {"jsonrpc": "2.0", "id": 7, "method": method, "params": params}
    encoded = json.dumps(body).encode()
    envelope = parse(encoded) if http == "POST" else None
    return UpstreamRequest(http, [], encoded, envelope, "0" * 32, None)


def a_call(tool: str, **args: Any) -> UpstreamRequest:
    return a_request("tools/call", name=tool, arguments=args)


def answer(verdict: Verdict) -> Any:
    assert isinstance(verdict, Refused)
    return json.loads(verdict.body)


def is_unknown(verdict: Verdict) -> bool:
    return isinstance(verdict, Refused) and b"Unknown tool" in verdict.body


def test_a_tool_without_a_pin_does_not_exist_whatever_policy_says(tmp_path: Path) -> None:
    """P10."""
    found = judge(tmp_path, ALL, b=ToolClass.READ)
    assert isinstance(found.judge(a_grant(), a_call("b")), Passed)
    refused = answer(found.judge(a_grant(), a_call("ab")))
    assert (refused["id"], refused["error"]["code"]) == (7, -32602)
    assert answer(found.judge(a_grant(), a_call("nothing")))["error"]["code"] == -32602


def test_a_session_uses_the_classes_it_has(tmp_path: Path) -> None:
    """T32: the class is the pin's, whatever the relay thinks it is."""
    found = judge(tmp_path, ALL, ab=ToolClass.ADMIN, b=ToolClass.READ)
    narrow = a_grant(ToolClass.READ, ToolClass.DRAFT)
    assert isinstance(found.judge(narrow, a_call("b")), Passed)
    refused = answer(found.judge(narrow, a_call("ab")))["result"]
    assert refused["isError"] is True
    assert refused["content"][0]["text"].startswith("denied by policy (request ")


def test_without_pins_no_class_is_known_and_a_narrowed_session_does_nothing(tmp_path: Path) -> None:
    found = judge(tmp_path, ALL, off=True)
    assert isinstance(found.judge(a_grant(), a_call("anything")), Passed)
    assert answer(found.judge(a_grant(ToolClass.READ), a_call("anything")))["result"]["isError"]


def test_extra_arguments_are_denied_for_what_changes_something(tmp_path: Path) -> None:
    """P07."""
    found = judge(tmp_path, ALL, ab=ToolClass.WRITE)
    assert isinstance(found.judge(a_grant(), a_call("ab", n=1)), Passed)
    assert answer(found.judge(a_grant(), a_call("ab", n=1, bcc="x")))["result"]["isError"]
    reading = judge(tmp_path, ALL, ab=ToolClass.READ)
    assert isinstance(reading.judge(a_grant(), a_call("ab", n=1, more=2)), Passed)


def test_what_a_permit_has_to_say_is_the_clients_own_word(tmp_path: Path) -> None:
    found = judge(tmp_path, ASK, ab=ToolClass.WRITE)
    verdict = found.judge(a_grant(), a_call("ab", n=1))
    assert isinstance(verdict, Asks)
    expected = verdict.expects(a_grant(), a_call("ab", n=1).body, b"relay")
    assert (expected.server, expected.tool, expected.tool_class) == ("ab", "ab", "write")
    assert expected.definition == item(ADD).sha256
    assert expected.policy == policy(ASK).digest
    told = json.loads(verdict.detail())
    assert (told["rule"], told["groups"], told["count"]) == ("ask", ["ops"], 1)
    assert verdict.same(found.judge(a_grant(), a_call("ab", n=1)))
    again = judge(tmp_path, ASK + "- {id: z, match: {tool: z}, effect: deny}", ab=ToolClass.WRITE)
    assert not verdict.same(again.judge(a_grant(), a_call("ab", n=1)))


def test_only_calls_of_tools_can_be_approved(tmp_path: Path) -> None:
    rule = "- {id: a, match: {method: '*'}, effect: require_approval, approvers: {group: [g]}}"
    refused = answer(judge(tmp_path, rule).judge(a_grant(), a_request("prompts/get", name="p")))
    assert refused["error"]["message"].startswith("denied by policy")


@pytest.mark.parametrize(
    ("method", "params"),
    [
        ("resources/read", {"uri": "file:///a"}),
        ("resources/subscribe", {"uri": "file:///a"}),
        ("prompts/get", {"name": "ab"}),
        ("completion/complete", {"ref": {"type": "ref/prompt", "name": "ab"}}),
        ("subscriptions/listen", {}),
    ],
)
def test_no_other_method_is_a_way_around(
    tmp_path: Path, method: str, params: dict[str, Any]
) -> None:
    """P31."""
    tools = "- {id: a, match: {tool: '*'}, effect: allow}"
    found = judge(tmp_path, tools, ab=ToolClass.READ)
    refused = answer(found.judge(a_grant(), a_request(method, **params)))
    assert refused["error"]["code"] == -31005
    allowed = judge(tmp_path, ALL).judge(a_grant(), a_request(method, **params))
    assert isinstance(allowed, Passed)


def shown(found: Judge, grant: Grant, request: UpstreamRequest, *entries: Any) -> list[str]:
    """Return the names that a list shows."""
    verdict = found.judge(grant, request)
    assert isinstance(verdict, Passed)
    assert verdict.edit is not None
    document = {"jsonrpc": "2.0", "id": 7, "result": {"tools": list(entries)}}
    changed: Any = verdict.edit(document) or document
    return [entry["name"] for entry in changed["result"]["tools"]]


CLASSES = st.lists(st.sampled_from(list(ToolClass)), unique=True, max_size=3)
PINS = st.dictionaries(st.sampled_from(["ab", "b"]), st.sampled_from(list(ToolClass)))


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    rules=RULE_SETS,
    pins=PINS,
    classes=CLASSES,
    off=st.booleans(),
    arg=st.none() | st.integers(0, 2),
)
def test_what_a_list_shows_and_what_a_call_may_do_always_agree(
    tmp_path: Path,
    rules: Any,
    pins: dict[str, ToolClass],
    classes: list[ToolClass],
    off: bool,
    arg: int | None,
) -> None:
    """P33, also for a stream that is resumed, whose answers are of any request."""
    found = judge(tmp_path, Policy(rules, "d"), off=off, **pins)
    grant = a_grant(*classes, groups=["ab"])
    for http in ("POST", "GET"):
        names = shown(found, grant, a_request("tools/list", http), ADD, READ)
        for tool in ("ab", "b"):
            verdict = found.judge(grant, a_call(tool, **({} if arg is None else {"n": arg})))
            if tool not in names:
                assert isinstance(verdict, Refused)
            else:
                assert not is_unknown(verdict)
            if is_unknown(verdict):
                assert tool not in names
            if isinstance(verdict, Passed | Asks):
                assert tool in names


@settings(max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rules=RULE_SETS, pins=PINS)
def test_a_rule_that_denies_wins_wherever_it_stands(
    tmp_path: Path, rules: Any, pins: dict[str, ToolClass]
) -> None:
    """P36."""
    (no,) = policy("- {id: no, match: {method: '*'}, effect: deny}").rules
    for place in range(len(rules) + 1):
        found = judge(
            tmp_path, Policy((*rules[:place], no, *rules[place:]), "d"), off=False, **pins
        )
        for tool in ("ab", "b"):
            assert isinstance(found.judge(a_grant(), a_call(tool)), Refused)
        assert shown(found, a_grant(), a_request("tools/list"), ADD, READ) == []


def test_two_definitions_under_one_name_show_the_pinned_one(tmp_path: Path) -> None:
    """P13, P14: and the tool cannot be called until somebody looks."""
    found = judge(tmp_path, ALL, b=ToolClass.READ)
    other = READ | {"description": "more"}
    assert shown(found, a_grant(), a_request("tools/list"), READ) == ["b"]
    assert shown(found, a_grant(), a_request("tools/list"), other) == []
    assert is_unknown(found.judge(a_grant(), a_call("b")))
    assert shown(found, a_grant(), a_request("tools/list"), READ) == []


@pytest.mark.parametrize("method", ["tools/list", "tools/call"])
@pytest.mark.parametrize(
    "result",
    [
        *({"Tools": [ADD]}, {"TOOLS": [ADD]}, {"tool\u017f": [ADD]}),
        *({"Prompts": []}, {"Resources": []}, {"resourcetemplates": []}, {"resource\u017f": []}),
        *({"Instructions": "x"}, {"in\u017ftructions": "x"}),
        {"InputRequests": {"q": {"Method": "elicitation/create"}}},
    ],
)
def test_p10_no_list_and_no_question_passes_in_other_case(
    tmp_path: Path, method: str, result: dict[str, Any]
) -> None:
    """P10, L17: whatever was asked; escapes hide nothing either."""
    found = judge(tmp_path, TOOLS, b=ToolClass.READ)
    request = a_request(method, name="b")
    verdict, forbids = found.judge(a_grant(), request), found.forbids(a_grant(), request)
    assert isinstance(verdict, Passed)
    assert forbids is not None
    needles = READ_NAMES if verdict.edit is None else ()
    edit = verdict.edit or found.lists(a_grant())
    for plain in (True, False):
        text = json.dumps({"jsonrpc": "2.0", "id": 7, "result": result}, ensure_ascii=plain)
        asked = Asked(forbids, request.envelope, {}, lambda _: None)
        with pytest.raises(EditError):
            reader(edit, asked, events=False, needles=needles).rest(text.encode())


def test_who_a_user_is_follows_the_grant(tmp_path: Path) -> None:
    """S30."""
    found = judge(tmp_path, "- {id: a, match: {group: ops}, effect: allow}", b=ToolClass.READ)
    assert isinstance(found.judge(a_grant(groups=["ops"]), a_call("b")), Passed)
    assert is_unknown(found.judge(a_grant(), a_call("b")))


# What upstreams ask of agents -------------------------------------------------------------------


def forbids(folder: Path, rules: str) -> Forbids:
    request = a_request("tools/call", "POST", name="ab")
    found = judge(folder, rules, ab=ToolClass.READ).forbids(a_grant(), request)
    assert found is not None
    return found


def test_upstreams_ask_nothing_unless_a_rule_says_so(tmp_path: Path) -> None:
    """L17."""
    tools = forbids(tmp_path, "- {id: a, match: {tool: '*'}, effect: allow}")
    for method in ("sampling/createMessage", "elicitation/create", "roots/list", "x/y"):
        assert tools(method, {})
    assert not tools("ping", None)


TOOLS = "- {id: a, match: {tool: '*'}, effect: allow}"
ASKS = "- {id: c, match: {method: [sampling/createMessage, elicitation/create, roots/list]}, "


@pytest.mark.parametrize(
    ("rules", "pinning", "classes", "read"),
    [
        (ALL, False, (), False),
        (ALL, True, (), True),
        (ALL, False, (ToolClass.READ,), True),
        (f"{ALL}\n- {{id: d, match: {{tool: x}}, effect: deny}}", False, (), True),
        (f"{ASKS}effect: allow}}", False, (), True),
        (
            f"{ASKS}effect: allow}}\n- {{id: a, match: {{tool: '*'}}, effect: allow}}",
            False,
            (),
            True,
        ),
    ],
)
def test_p10_an_answer_is_read_where_a_list_in_it_would_be_cut_down(
    tmp_path: Path, rules: str, pinning: bool, classes: tuple[ToolClass, ...], read: bool
) -> None:
    """P10: whatever was asked, and though upstreams may ask anything."""
    off = () if pinning else ("ab",)
    found = Judge(lambda: policy(rules), Catalog(Pins(tmp_path), ["ab"], unpinned=off))
    asked = a_request("tools/call", "POST", name="ab")
    grant = a_grant(*classes)
    assert (found.forbids(grant, asked) is not None) is read


def test_a_stream_is_always_watched_as_its_policy_may_change(
    tmp_path: Path,
) -> None:
    """L17."""
    rules = [policy(ALL), policy("- {id: a, match: {tool: '*'}, effect: allow}")]
    found = Judge(lambda: rules[0], Catalog(Pins(tmp_path), ["ab"]))
    watched = found.forbids(a_grant(), a_request("tools/call", "GET", name="ab"))
    assert watched is not None
    assert not watched("roots/list", None)
    rules.reverse()
    assert watched("roots/list", None)


def test_a_condition_on_what_is_asked_is_asked(tmp_path: Path) -> None:
    """L17; what wants an approval is denied: nobody could give it."""
    some = (
        "- {id: a, match: {method: elicitation/create}, effect: allow,"
        " when: 'args.mode == \"form\"'}\n"
        "- {id: b, match: {method: roots/list}, effect: require_approval, approvers: {group: [g]}}"
    )
    found = forbids(tmp_path, some)
    assert not found("elicitation/create", {"mode": "form"})
    assert found("elicitation/create", {"mode": "url"})
    assert found("elicitation/create", [])
    assert found("roots/list", None)
    assert Effect.REQUIRE_APPROVAL in {rule.effect for rule in policy(some).rules}


def test_a_relay_that_sends_what_is_denied_again_and_again_writes_few_lines(tmp_path: Path) -> None:
    """T32: whoever took it over fills no disk here either."""
    judged = judge(tmp_path, ALL, b=ToolClass.READ)
    with capture_logs() as lines:
        for _ in range(2_000):
            assert is_unknown(judged.judge(a_grant(), a_call("no-such-tool")))
    assert 0 < len(lines) < 500
