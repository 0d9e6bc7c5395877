"""A record without what is for auditors only."""

from tunnel_relay.audit.sensitive import HIDDEN, without


def test_what_people_said_and_where_they_were_is_left_out_wherever_it_stands() -> None:
    record = {
        "kind": "admin.asked",
        "by": "ada",
        "arguments": {"session": "s", "reason": "gone"},
        "who": {"user": "uma", "claimed": "x"},
        "deep": [{"source": "10.0.0.1"}, "plain"],
        "reason": "",
    }
    assert without(record) == {
        "kind": "admin.asked",
        "by": "ada",
        "arguments": {"session": "s", "reason": HIDDEN},
        "who": {"user": "uma", "claimed": HIDDEN},
        "deep": [{"source": HIDDEN}, "plain"],
        "reason": "",
    }


def test_what_decided_stays_and_why_in_words_does_not() -> None:
    why = {"decision": "deny", "rule": "r"}
    assert without({"kind": "call.refused", "why": why})["why"] == why
    assert without({"kind": "child.refused", "why": "says it"})["why"] == HIDDEN


def test_arguments_stay_as_far_as_they_are_tags() -> None:
    given = {"a": "hmac:00", "b": "clear", "c": 3, "d": ["x"], "e": {"f": "hmac:00"}}
    shown = without({"kind": "call.intent", "arguments": given})["arguments"]
    assert shown == {"a": "hmac:00", "b": HIDDEN, "c": HIDDEN, "d": HIDDEN, "e": HIDDEN}
