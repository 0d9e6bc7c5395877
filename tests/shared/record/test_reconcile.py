"""A relay's log against its clients': what agrees, what a cut explains, what nothing does."""

from itertools import count
from typing import Any

import pytest

from shared.record.reconcile import MAX_FINDINGS, reconcile
from tests.shared.record.logs import LINK, SECOND, WHAT, WHO, Log, both, found, kinds


def test_logs_that_agree_leave_nothing() -> None:
    report = found(*both())
    assert (report.ok, report.relay, report.clients, report.matched) == (True, 1, {"c": 1}, 1)
    assert report.findings == []


def test_a_call_that_was_answered_and_that_the_client_does_not_know_is_grave() -> None:
    relay, client = both()
    relay.at(2000).call(2)
    report = found(relay, client)
    assert kinds(report) == {"only the relay knows": True}
    assert report.findings[0].relay == 3
    assert not report.ok


def test_a_call_that_never_came_over_a_broken_link_is_none() -> None:
    relay, client = both()
    relay.at(2000).call(2, "delivery_unknown")
    report = found(relay, client)
    assert kinds(report) == {"never arrived": False}
    assert report.ok


def test_a_call_that_only_the_client_knows_is_grave() -> None:
    relay, client = both()
    client.at(2000).call(2)
    assert kinds(found(relay, client)) == {"only the client knows": True}


def test_what_the_other_log_does_not_reach_is_not_held_against_it() -> None:
    relay, client = Log(), Log(3000)
    client.add("link.up", link=LINK)
    relay.at(2000).call(1)
    assert kinds(found(relay, client)) == {"not covered": False}
    relay, client = both()
    client.at(8000).call(2)
    report = reconcile(relay.records, {"c": client.records}, slack=5)
    assert kinds(report) == {"not covered": False}


def test_what_could_not_be_written_down_is_not_held_against_it() -> None:
    relay, client = both()
    relay.at(2000).call(2)
    client.at(2100).add("audit.gap", began=1900 * SECOND, ended=2050 * SECOND, refused=0, lost=0)
    report = found(relay, client)
    assert kinds(report) == {"in a gap": False}
    assert (report.ok, dict(+report.kinds)) == (True, {"in a gap": 1})


@pytest.mark.parametrize("silent", ["relay", "client"])
def test_a_gap_excuses_all_calls_in_it_however_many_and_no_other(silent: str) -> None:
    relay, client = both()
    talks, quiet = (client, relay) if silent == "relay" else (relay, client)
    for number in range(2, 2 + 3 * MAX_FINDINGS):
        talks.at(2000 + number).call(number)
    ended = talks.now * SECOND
    quiet.at(talks.now).add("audit.gap", began=2000 * SECOND, ended=ended, refused=0, lost=0)
    late = (talks.now + 50, talks.now + 60)
    for number, when in enumerate(late, 90_000):
        talks.at(when).call(number)
    report = found(relay, client)
    kind = f"only the {'client' if silent == 'relay' else 'relay'} knows"
    assert report.as_dict()["kinds"] == {"in a gap": 3 * MAX_FINDINGS, kind: 2}
    assert (report.ok, report.grave) == (False, 2)
    for log in (relay, client):
        log.records = [each for each in log.records if each.get("call", "").find(".9000") < 0]
    assert found(relay, client).ok


APPROVAL = {"id": "a1", "arguments": "d", "approvers": ["carol"], "keys": ["of carol"]}


@pytest.mark.parametrize(
    ("change", "kind"),
    [
        ({"body": "c" * 64}, "other body"),
        ({"who": {**WHO, "user": "eve"}}, "other user"),
        ({"who": {**WHO, "agent": "eve"}}, "other agent"),
        ({"who": {**WHO, "session": "s2"}}, "other session"),
        ({"what": {**WHAT, "server": "mail"}}, "other server"),
        ({"what": {**WHAT, "method": "tools/list"}}, "other method"),
        ({"what": {**WHAT, "name": "delete"}}, "other tool"),
        ({"what": {**WHAT, "class": "write"}}, "other class"),
        ({"what": {**WHAT, "definition": "e" * 64}}, "other definition"),
        ({"approval": {**APPROVAL, "id": "a2"}}, "other approval"),
        ({"approval": {**APPROVAL, "arguments": "e"}}, "other approval"),
        ({"approval": {**APPROVAL, "approvers": ["dave"]}}, "other approval"),
        ({"approval": {**APPROVAL, "keys": ["of dave"]}}, "other approval"),
    ],
)
def test_what_both_ends_say_of_a_call_is_the_same(change: dict[str, Any], kind: str) -> None:
    relay, client = both()
    what = {**WHAT, "definition": "d" * 64}
    relay.at(2000).end(2, relay.begin(2, what=what, approval=APPROVAL))
    said = {"approval": APPROVAL, **change, "what": {**what, **change.get("what", {})}}
    seq = client.at(2000).begin(2, **said)
    client.end(2, seq)
    assert kinds(found(relay, client)) == {kind: True}


def test_the_relay_names_a_server_with_its_tunnel_and_a_tag_is_no_other_name() -> None:
    relay, client = both()
    relay.at(2000).end(2, relay.begin(2, what={**WHAT, "server": "home/files", "name": "l\xe4s"}))
    client.at(2000).end(2, client.begin(2, what={**WHAT, "name": "hmac:" + "0" * 32}))
    assert found(relay, client).findings == []


FULL = {**WHAT, "http": "POST", "definition": "d" * 64}
TAG = "hmac:" + "0" * 32
CUT = {"*": {"bytes": 300_000}}


def of_one_call(
    here: dict[str, Any], there: dict[str, Any], refused: bool = False
) -> dict[str, bool]:
    """Return what is found of a call of which both ends say all but for these facts."""
    relay, client = both()
    facts = {"body": "b" * 64, "what": FULL, "who": WHO, "call": f"{LINK}.2"}
    begun = relay.at(2000).add("call.intent", **(facts | here))
    relay.end(2, begun, "denied" if refused else "ok")
    if refused:
        client.at(2000).add("call.refused", **(facts | there))
    else:
        client.end(2, client.at(2000).add("call.intent", **(facts | there)))
    return kinds(found(relay, client))


@pytest.mark.parametrize("end", ["relay", "client"])
@pytest.mark.parametrize(
    ("facts", "kind"),
    [
        ({"body": TAG}, "other body"),
        ({"who": {**WHO, "user": TAG}}, "other user"),
        ({"who": {**WHO, "agent": TAG}}, "other agent"),
        ({"who": {**WHO, "session": TAG}}, "other session"),
        ({"what": {**FULL, "server": TAG}}, "other server"),
        ({"what": {**FULL, "http": "GET"}}, "other method"),
        ({"what": {**FULL, "method": TAG}}, "other method"),
        ({"what": {**FULL, "name": TAG}}, "other tool"),
        ({"what": {**FULL, "class": TAG}}, "other class"),
        ({"what": {**FULL, "definition": TAG}}, "other definition"),
        ({"body": ""}, "incomplete record"),
        ({"body": None}, "incomplete record"),
        ({"who": {**WHO, "user": ""}}, "incomplete record"),
        ({"who": {**WHO, "agent": None}}, "incomplete record"),
        ({"who": {**WHO, "session": ""}}, "incomplete record"),
        ({"who": {}}, "incomplete record"),
        ({"what": {**FULL, "server": ""}}, "incomplete record"),
        ({"what": {**FULL, "http": ""}}, "other method"),
        ({"what": {**FULL, "method": None}}, "other method"),
    ],
)
def test_neither_a_tag_nor_silence_excuses_what_each_end_always_says(
    end: str, facts: dict[str, Any], kind: str
) -> None:
    here, there = (facts, {}) if end == "relay" else ({}, facts)
    assert of_one_call(here, there) == {kind: True}


@pytest.mark.parametrize(
    ("member", "kind"),
    [("name", "other tool"), ("class", "other class"), ("definition", "other definition")],
)
def test_the_relay_may_know_less_of_a_tool_than_the_client(member: str, kind: str) -> None:
    less = {"what": {**FULL, member: None}}
    assert of_one_call(less, {}) == {}
    assert of_one_call({}, less) == {kind: True}


def test_both_ends_that_say_nothing_of_who_called_are_incomplete() -> None:
    assert of_one_call({"who": {}}, {"who": {}}) == {"incomplete record": True}
    assert of_one_call({"body": ""}, {"body": ""}) == {"incomplete record": True}


def test_a_request_without_a_message_has_no_method_at_either_end() -> None:
    plain = {"what": {"server": "files", "http": "DELETE"}}
    assert of_one_call(plain, plain) == {}
    assert of_one_call(plain, {"what": {**plain["what"], "http": "GET"}}) == {"other method": True}


@pytest.mark.parametrize("said", ["hmac:x", "hmac:", "hmac:" + "0" * 31 + "x", "HMAC:" + "0" * 32])
def test_only_a_whole_tag_of_what_could_be_no_name_is_one(said: str) -> None:
    odd = {"what": {**FULL, "name": "l\xe4s"}}
    assert of_one_call(odd, {"what": {**FULL, "name": TAG}}) == {}
    assert of_one_call(odd, {"what": {**FULL, "name": said}}) == {"other tool": True}
    assert of_one_call({"what": {**FULL, "name": TAG}}, odd) == {"other tool": True}


def test_a_client_whose_policy_does_not_ask_any_more_used_no_approval() -> None:
    used = {"approval": {"id": "a1", "arguments": "d"}}
    assert of_one_call(used, {}) == {}
    assert of_one_call({}, used) == {"other approval": True}


def test_what_was_refused_before_it_was_read_says_little_and_nothing_else() -> None:
    bare = {"who": {}, "what": {"server": ""}, "body": ""}
    assert of_one_call({}, bare, refused=True) == {}
    assert of_one_call({}, {"who": {**WHO, "user": "eve"}}, refused=True) == {"other user": True}
    assert of_one_call({"who": {}}, {}, refused=True) == {"incomplete record": True}
    relay, client = both()
    relay.at(2000).call(2)
    client.at(2000).add("call.refused", call=f"{LINK}.2", **bare)
    assert kinds(found(relay, client)) == {"results disagree": True}


def test_a_method_that_was_too_long_to_be_written_down_was_refused() -> None:
    """An agent may send any; where the relay's policy permits all, the client refuses it."""
    cut, long = {"what": CUT}, {"what": {**FULL, "method": "x" * 300_000}}
    for there in (cut, long):
        assert of_one_call(cut, there, refused=True) == {}
    assert of_one_call(cut, {})["incomplete record"]
    assert of_one_call({}, cut)["incomplete record"]


@pytest.mark.parametrize(
    ("here", "there", "kind"),
    [
        ("ok", "tool_error", ("results disagree", True)),
        ("ok", "timeout", ("results disagree", True)),
        ("delivery_unknown", "ok", ("answer lost on the way", False)),
        ("cancelled", "ok", ("answer lost on the way", False)),
        ("cancelled", "delivery_unknown", None),
        ("timeout", "timeout", None),
    ],
)
def test_results_differ_only_as_far_as_a_cut_explains(
    here: str, there: str, kind: tuple[str, bool] | None
) -> None:
    relay, client = both()
    relay.at(2000).call(2, here)
    client.at(2000).call(2, there)
    assert list(kinds(found(relay, client)).items()) == ([] if kind is None else [kind])


def test_what_the_relay_promised_was_never_sent_was_not() -> None:
    relay, client = both()
    relay.at(2000).call(2, "unreachable", delivery="never_sent").call(3, "unreachable")
    relay.records[-1]["delivery"] = "never_sent"
    client.at(2000).call(2, "ok").call(3, "unreachable")
    assert kinds(found(relay, client)) == {"sent after all": True}


def test_a_client_that_was_killed_after_its_answer_has_not_said_so() -> None:
    relay, client = both()
    relay.at(2000).call(2)
    client.at(2000).call(2, "delivery_unknown", closed_by="restart")
    assert kinds(found(relay, client)) == {"end not written": False}


def test_what_the_client_refused_was_not_answered_well() -> None:
    relay, client = both()
    for stream, result in ((2, "denied"), (3, "tool_error"), (4, "ok")):
        relay.at(2000 + stream).call(stream, result)
        client.at(2000 + stream).add(
            "call.refused", call=f"{LINK}.{stream}", what=WHAT, who=WHO, body=""
        )
    report = found(relay, client)
    assert kinds(report) == {"results disagree": True}
    assert report.findings[0].call == f"{LINK}.4"


@pytest.mark.parametrize("which", ["relay", "client"])
def test_a_call_without_an_end_in_a_log_that_was_closed_is_grave(which: str) -> None:
    relay, client = both()
    for name, log in (("relay", relay), ("client", client)):
        seq = log.at(2000).begin(2)
        if name != which:
            log.end(2, seq)
    report = found(relay, client)
    assert kinds(report) == {"no completion": True}
    assert report.matched == 1


def test_a_call_that_runs_while_the_logs_are_read_is_under_way() -> None:
    relay, client = both()
    relay.at(2000).begin(2)
    client.at(2000).begin(2)
    report = reconcile(relay.records, {"c": client.records})
    assert kinds(report) == {"under way": False}


def test_a_restart_ends_what_was_open_or_it_is_grave() -> None:
    relay, client = both()
    client.at(2000).begin(2)
    relay.at(2000).call(2, "delivery_unknown")
    client.add("audit.opened")
    report = reconcile(relay.records, {"c": client.records})
    assert kinds(report) == {"no completion": True}


def test_what_could_not_be_compared_is_counted_and_not_said_to_agree() -> None:
    relay, client = both()
    relay.at(2000).call(2)
    client.at(2100).add("audit.gap", began=1900 * SECOND, ended=2050 * SECOND, refused=0, lost=0)
    client.at(9500).call(3)
    relay.at(9000).add("audit.closed")
    report = reconcile(relay.records, {"c": client.records}, slack=5)
    assert (report.ok, report.matched, report.uncompared) == (True, 1, 2)
    assert report.as_dict()["uncompared"] == 2


def test_secrets_that_were_taken_out_are_told_and_no_fault() -> None:
    relay, client = both()
    relay.at(2000).call(2)
    client.at(2000).call(2, scrub_hits=2)
    report = found(relay, client)
    assert kinds(report) == {"secret in the answer": False}
    assert report.ok


def test_a_call_that_begins_twice_in_one_log_is_grave() -> None:
    relay, client = both()
    relay.at(2000).begin(2)
    relay.end(2, relay.begin(2))
    client.at(2000).call(2)
    assert kinds(found(relay, client))["begun twice"]


def test_two_clients_logs_are_held_against_one_relay() -> None:
    relay, client = both()
    other, link = Log(), "1" * 16
    other.add("link.up", link=link)
    relay.at(2000).end(1, relay.begin(1, link), link=link)
    other.at(2000).end(1, other.begin(1, link), link=link)
    report = reconcile(relay.records, {"c": client.records, "d": other.records})
    assert (report.ok, report.matched, report.clients) == (True, 2, {"c": 1, "d": 1})


def test_clocks_that_are_minutes_apart_match_within_the_window() -> None:
    relay, client = Log(), Log(1000 + 300)
    client.add("link.up", link=LINK)
    for number in range(1, 500):
        relay.at(2000 + number).call(number)
        client.at(2300 + number).call(number)
    report = found(relay, client)
    assert (report.ok, report.matched) == (True, 499)


@pytest.mark.parametrize("kept", [0, 20_000])
@pytest.mark.parametrize("back", [60, 660, 3600])
def test_a_clock_that_both_ends_go_by_may_be_set_back(
    back: int, kept: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shared.record.reconcile.KEPT_ALONE", kept)
    relay, client = Log(), Log()
    client.add("link.up", link=LINK)
    times = [*range(10_000, 10_100, 10), *range(10_100 - back, 10_000 + 2 * back, 30)]
    for number, when in enumerate(times, 1):
        relay.at(when).call(number)
        client.at(when).call(number)
    report = found(relay, client, until=20_000)
    assert (report.ok, report.matched, report.findings) == (True, len(times), [])


@pytest.mark.parametrize("behind", ["relay", "client"])
def test_a_clock_of_one_end_that_was_wrong_for_hours_is_said_once_and_held_against_nobody(
    behind: str,
) -> None:
    relay, client = Log(10_000), Log(10_000)
    client.add("link.up", link=LINK)
    for number in range(1, 500):
        relay.at(10_000 + 60 * number + 7200 * (behind == "client")).call(number)
        client.at(10_000 + 60 * number + 7200 * (behind == "relay")).call(number)
    for number in range(500, 600):
        relay.at(20_000 + 60 * number).call(number)
        client.at(20_000 + 60 * number).call(number)
    report = found(relay, client, until=90_000)
    assert (report.ok, report.matched) == (True, 599)
    assert [(each.kind, each.calls, each.grave) for each in report.findings] == [
        ("clocks apart", 499, False)
    ]


def test_a_call_that_is_of_another_time_than_its_neighbours_is_held_against_its_log() -> None:
    """It was held back for hours, which no clock does to one call alone."""
    relay, client = both()
    for number in range(2, 100):
        relay.at(2000 + number).call(number)
        client.at(2000 + number + 7200 * (number == 50)).call(number)
    client.records.sort(key=lambda each: int(each["time"]))
    report = found(relay, client, until=20_000)
    assert [(each.kind, each.calls, each.grave) for each in report.findings] == [
        ("clocks apart", 1, True)
    ]


def test_a_record_of_a_time_to_come_hides_nothing() -> None:
    relay, client = both()
    relay.at(4_102_444_800).add("relay.note")
    relay.at(2000).call(5)
    relay.at(2100).call(6)
    client.at(2100).call(6)
    assert kinds(found(relay, client)) == {"only the relay knows": True}


@pytest.mark.parametrize("silent", ["relay", "client"])
def test_a_gap_in_which_the_clock_was_set_back_is_one(silent: str) -> None:
    relay, client = both()
    talks, quiet = (client, relay) if silent == "relay" else (relay, client)
    talks.at(3000).call(2)
    quiet.at(2500).add("audit.gap", began=3500 * SECOND, ended=2500 * SECOND, refused=1, lost=0)
    assert kinds(found(relay, client)) == {"in a gap": False}


def test_an_answer_has_one_status() -> None:
    relay, client = both()
    relay.at(2000).call(2, status=200)
    client.at(2000).call(2, status=500)
    assert kinds(found(relay, client)) == {"results disagree": True}


def test_only_calls_of_the_window_are_kept_in_memory_and_findings_are_few() -> None:
    """A log whose other end says nothing at all is read to its end in bounded space."""
    relay, client, numbers = Log(), Log(), count(1)
    client.add("link.up", link=LINK)

    def endless() -> Any:
        yield from relay.records
        for number in range(20_000):
            stream, when = next(numbers), (3000 + number) * SECOND
            seq = 2 * number + 1
            call = {"call": f"{LINK}.{stream}", "time": when, "v": 1}
            yield {"seq": seq, "kind": "call.intent", "what": WHAT, "who": WHO, **call}
            ended = {"intent": seq, "result": "ok", "delivery": "done"}
            yield {"seq": seq + 1, "kind": "call.completion", **ended, **call}

    client.at(40_000).add("audit.closed")
    report = reconcile(endless(), {"c": client.records})
    assert report.kinds["only the relay knows"] == report.grave == 20_000
    assert len(report.findings) == MAX_FINDINGS


def test_what_is_no_record_of_a_call_is_passed_over() -> None:
    odd: list[dict[str, Any]] = [
        {},
        {"kind": "call.intent", "call": 7, "time": "x"},
        {"kind": "call.completion", "call": "x", "time": True},
        {"kind": "call.intent", "call": "x.1", "who": 3, "what": [], "approval": ""},
    ]
    report = reconcile(odd, {"c": odd})
    assert (report.matched, kinds(report)) == (0, {"incomplete record": True, "under way": False})
