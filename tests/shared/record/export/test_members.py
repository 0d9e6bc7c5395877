"""What a record says goes out in every format, or is named here with the reason why it does not."""

import json
from typing import Any

import pytest

from shared.record import encode
from shared.record.export.formats import Formatter
from shared.record.export.joined import Origin
from shared.record.export.names import FORMATS
from shared.record.model import COMPLETION, GRANTED, INTENT, MEMBERS, REFUSED
from tests.helpers.log_lines import chained

ORIGIN = Origin("tunnel-relay", "mcp-tunnel/relay/https://r", "1.0", "host.example")
KINDS = (
    INTENT,
    COMPLETION,
    REFUSED,
    "call.unauthenticated",
    GRANTED,
    "admin.asked",
    "login.failed",
)
TIME, US = 1_795_000_000_123_456, 7_654_321
TRACE, SPAN = "a1" * 16, "b2" * 8
ABOUT: dict[str, Any] = {
    "approval": {
        "approvers": ["approver.one", "approver.two"],
        "arguments": "a.digest",
        "id": "approval.id",
        "keys": ["a.key", "other.key"],
    },
    "request": "request.number",
    "source": "10.20.30.40",
    "trace": f"{TRACE}-{SPAN}",
    "what": {
        "class": "a.class",
        "definition": "a.definition",
        "http": "PATCH",
        "method": "tools/call",
        "name": "a.tool",
        "server": "a.server",
        "tunnel": "a.tunnel",
    },
    "who": {"agent": "an.agent", "claimed": "a.claim", "session": "a.session", "user": "a.user"},
    "why": {"by": "a.judge", "decision": "a.decision", "policy": "a.policy", "rule": "a.rule"},
}
REST: dict[str, Any] = {
    "bytes": 31_313,
    "call": "feed.77",
    "closed_by": "closed.by",
    "delivery": "a.delivery",
    "intent": 7,
    "reason": "a.reason",
    "result": "tool_error",
    "scrub_hits": 4_242,
    "status": 599,
    "us": US,
}
SAID = {
    "v": None,
    "seq": "#8",
    "intent": '"intent": 7',
    "time": str(TIME // 1000),
    "arguments": "an.argument",
    "body": "f" * 64,
    "approval.approvers": ["approver.one", "approver.two"],
    "approval.keys": ["a.key", "other.key"],
    "trace": [TRACE, SPAN],
}
SAID_BY = {
    "ecs": {"intent": '"intent":7', "time": "T11:06:40.123456Z", "us": f"{US}000"},
    "ocsf": {"us": f'"duration":{US // 1000},', "intent": '"intent":7'},
    "otlp": {"seq": '"intValue":"8"', "time": f"{TIME}000", "us": f"{TIME - US}000"},
}
DIGEST = "a digest by which a guess of the whole could be tried (attack A13)"
ALL = {
    "v": "how the log is spelled, not what happened",
    "body": DIGEST,
    "approval.arguments": DIGEST,
}
LEFT_OUT = {
    "jsonl": {},
    "ocsf": ALL,
    "ecs": ALL,
    "cef": ALL,
    "otlp": {
        **ALL,
        "arguments": "spans go to whoever looks at how fast things are",
        "intent": "a span is both records",
    },
    "otlp-metrics": dict.fromkeys(MEMBERS, "numbers of many calls, by few labels"),
}
ONLY = {"otlp": (COMPLETION, REFUSED), "otlp-metrics": (COMPLETION,)}
"""Kinds of records that a format has; others have all of them."""
IN_INTENT = {"arguments": "its intent says them: a log of large ones would go out twice"}
JOINED = ("approval", "arguments", "request", "source", "trace", "what", "who", "why")


def record(kind: str, seq: int, facts: dict[str, Any], time: int = TIME) -> bytes:
    return encode.event(kind, facts, seq, time)


def line_of(name: Any, kind: str, **facts: Any) -> str:
    """Return what a format says of a record of this kind that has every member."""
    whole = {**ABOUT, **REST, "arguments": {"given": "an.argument"}, "body": "f" * 64, **facts}
    own = {each: whole[each] for each in whole if kind != COMPLETION or each not in JOINED}
    before = [record("test", seq, {}) for seq in range(7)]
    intent = {each: whole[each] for each in (*JOINED, "body", "call")}
    lines = chained([*before, record(INTENT, 7, intent, TIME - US), record(kind, 8, own)])
    formatter = Formatter(name, ORIGIN)
    return [formatter.line(seq, line).decode() for seq, line in enumerate(lines)][-1]


def said_of(name: str, path: str) -> list[str]:
    """Return what shows that a member is there."""
    value = ABOUT | REST
    for each in path.split("."):
        value = value.get(each, {}) if isinstance(value, dict) else value
    found = SAID_BY.get(name, {}).get(path, SAID.get(path, value))
    return [str(each) for each in (found if isinstance(found, list) else [found])]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", [each for each in FORMATS if each != "jsonl"])
def test_every_member_goes_out_or_is_named_with_a_reason(name: Any, kind: str) -> None:
    if kind not in ONLY.get(name, KINDS):
        assert line_of(name, kind) == ""
        return
    text = line_of(name, kind)
    assert kind in text or name == "otlp-metrics"
    without = LEFT_OUT[name] | (IN_INTENT if kind == COMPLETION else {})
    for path in MEMBERS.keys() - {"kind", "who", "what", "why", "approval", "v"}:
        if name == "otlp-metrics":
            continue
        for said in said_of(name, path):
            assert (said in text) == (path not in without), path


def test_every_reason_is_of_a_member() -> None:
    assert set(LEFT_OUT) == set(FORMATS)
    for reasons in LEFT_OUT.values():
        assert reasons.keys() <= MEMBERS.keys()


@pytest.mark.parametrize("kind", [each for each in KINDS if each != COMPLETION])
@pytest.mark.parametrize("name", ["ocsf", "ecs", "cef"])
def test_facts_that_no_format_has_a_word_for_go_out(name: Any, kind: str) -> None:
    text = line_of(name, kind, command="a.command", odd={"deep": ["a.fact"]})
    assert "a.command" in text
    assert "a.fact" in text


@pytest.mark.parametrize("kind", [REFUSED, "call.unauthenticated", "login.failed"])
def test_how_many_were_counted_together_goes_out(kind: str) -> None:
    facts = {"count": 5_000, "began": TIME - 2_000_000, "ended": TIME}
    begins, ends = TIME // 1000 - 2000, TIME // 1000
    assert f" cnt=5000 start={begins} end={ends} " in line_of("cef", kind, **facts)
    event = json.loads(line_of("ocsf", kind, **facts))
    assert (event["count"], event["start_time"], event["end_time"]) == (5000, begins, ends)
    document = json.loads(line_of("ecs", kind, **facts))
    assert document["mcp_tunnel"]["count"] == 5000
    assert document["event"]["start"] == "2026-11-18T11:06:38.123456Z"
    assert document["event"]["end"] == "2026-11-18T11:06:40.123456Z"
    if kind == REFUSED:
        counted = {"key": "mcp_tunnel.count", "value": {"intValue": "5000"}}
        assert counted in json.loads(line_of("otlp", kind, **facts))["attributes"]


@pytest.mark.parametrize("count", [0, -1, True, "5", 1 << 40, None, 2.5])
def test_what_is_no_count_is_none(count: Any) -> None:
    for name in FORMATS:
        text = line_of(name, REFUSED, count=count, began=-1, ended=5)
        assert " cnt=" not in text
        assert "mcp_tunnel.count" not in text
        assert " start=" not in text


def spelled(kind: str, facts: dict[str, Any]) -> tuple[str, dict[str, Any], dict[str, Any]]:
    """Return a record that has these facts alone, in CEF, ECS and OCSF."""
    line = chained([record(kind, 0, facts)])[0]
    cef, ecs, ocsf = (Formatter(name, ORIGIN).line(0, line) for name in ("cef", "ecs", "ocsf"))
    return cef.decode(), json.loads(ecs), json.loads(ocsf)


def test_who_did_it_is_the_user_and_whom_it_was_done_to_another() -> None:
    facts = {"arguments": {"user": "victim"}, "by": "root", "command": "user_disable", "hidden": 0}
    cef, ecs, ocsf = spelled("admin.asked", facts)
    assert " suser=root duser=victim " in cef
    assert ecs["user"] == {"name": "root", "target": {"name": "victim"}}
    assert ecs["related"] == {"user": ["root", "victim"]}
    assert ocsf["actor"]["user"] == {"name": "root"}
    assert ocsf["unmapped"]["target"] == "victim"
    for kind in ("approval.granted", "session.revoked"):
        cef, ecs, ocsf = spelled(kind, {**ABOUT, "by": "root"})
        assert " suser=root duser=a.user " in cef
        assert ecs["user"] == {"name": "root", "target": {"name": "a.user"}}
        assert ecs["related"]["user"] == ["root", "a.user", "approver.one", "approver.two"]
        # The agent and the session are not those of who did it.
        assert ocsf["actor"] == {"app_name": "tunnel-relay", "user": {"name": "root"}}
        assert (ocsf["unmapped"]["agent"], ocsf["unmapped"]["session"]) == ("an.agent", "a.session")


def test_whose_login_it_is_is_the_user() -> None:
    for facts in ({"who": {"user": "ada"}}, {"user": "ada"}):
        cef, ecs, ocsf = spelled("login.failed", facts)
        assert " suser=ada " in cef
        assert " duser=" not in cef
        assert ecs["user"] == ocsf["actor"]["user"] == {"name": "ada"}
        assert "target" not in ocsf["unmapped"]


def test_an_argument_of_a_tool_names_nobody() -> None:
    cef, ecs, _ = spelled("call.refused", {**ABOUT, "arguments": {"user": "somebody"}})
    assert " suser=a.user " in cef
    assert " duser=" not in cef
    assert ecs["user"] == {"name": "a.user"}


@pytest.mark.parametrize("by", [3, None, [4], {"name": "x"}, ""])
def test_who_is_no_text_is_nobody(by: Any) -> None:
    for text in spelled("admin.asked", {"by": by, "arguments": {"user": by}, "user": by}):
        assert "suser=" not in text
        assert isinstance(text, str) or not {"user", "related"} & text.keys()


@pytest.mark.parametrize(
    ("kind", "outcome", "severity"),
    [
        ("login.ok", "success", 1),
        ("login.over", "success", 1),
        ("login.failed", "failure", 2),
        ("login.throttled", "failure", 2),
        ("call.unauthenticated", "failure", 2),
        ("call.refused", "failure", 3),
        ("enrolment.refused", "failure", 2),
        ("link.failed", "failure", 2),
        ("session.over", "unknown", 1),
        ("admin.asked", "unknown", 1),
        ("made.up", "unknown", 1),
    ],
)
def test_a_kind_tells_how_it_ended(kind: str, outcome: str, severity: int) -> None:
    cef, ecs, ocsf = spelled(kind, {"who": {"user": "ada"}})
    assert (ecs["event"]["outcome"], ecs["event"]["severity"]) == (outcome, severity)
    assert (ocsf["status"], ocsf["severity_id"]) == (outcome.capitalize(), severity)
    assert f" outcome={outcome} " in cef


@pytest.mark.parametrize(
    ("said", "outcome"), [("ok", "success"), ("MT1150", "failure"), (1, "failure")]
)
def test_a_command_says_how_it_ended(said: Any, outcome: str) -> None:
    cef, ecs, ocsf = spelled("admin.done", {"by": "root", "command": "lock_add", "outcome": said})
    assert f" outcome={outcome} " in cef
    assert ecs["event"]["outcome"] == outcome
    assert ocsf["status"] == outcome.capitalize()


def test_how_a_call_ended_is_its_own_word_beside_the_outcome() -> None:
    cef, _, _ = spelled(COMPLETION, {"result": "timeout", "intent": 9})
    assert " outcome=unknown " in cef
    assert '"result": "timeout"' in cef


def test_what_matters_most_stands_first_in_what_is_cut() -> None:
    facts = {**ABOUT, "arguments": {f"name{at}": "x" * 60 for at in range(40)}, "by": "root"}
    cef, _, _ = spelled("approval.granted", facts)
    message = cef.partition(" msg=")[2]
    assert message.startswith('{"approval": {"id": "approval.id", "approvers": ["approver.one"')
    assert '"by": "root"' in message
    assert len(message) == 1000


def test_an_approval_of_odd_parts_is_said_as_far_as_it_is_one() -> None:
    odd = {"approvers": "ada", "id": ["x"], "keys": "k", "arguments": ["e" * 64]}
    for text in spelled("approval.granted", {"approval": odd}):
        assert "approvers" not in str(text)
        assert "e" * 64 not in str(text)
