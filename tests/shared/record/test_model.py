"""What a reader makes of a record, whatever it is."""

import json
from dataclasses import fields

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.record import model
from shared.record.model import (
    FAMILIES,
    KINDS,
    MAX_RECORD,
    MEMBERS,
    Record,
    RecordError,
    What,
    Who,
    Why,
    read,
    user_text,
)
from tests.helpers.log_lines import completion, intent

JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.text(max_size=5)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=6,
)


def test_a_record_of_a_call_says_who_what_and_why() -> None:
    found = read(intent(7, 3, approval=b'"approval":{"approvers":["eve"],"id":"a1"},'))
    assert (found.seq, found.kind, found.version) == (7, "call.intent", 1)
    assert found.who == Who("ada", "helper", "5" * 32, "bot/1")
    assert found.what == What("crm", "POST", "tools/call", "look_up", "read", "d" * 64)
    assert found.why == Why("allow", "reads", "b" * 64)
    assert found.approval is not None
    assert (found.approval.id, found.approval.approvers) == ("a1", ("eve",))
    assert found.facts == {}
    ended = read(completion(8, 3, 7))
    assert (ended.call, ended.intent, ended.result, ended.us) == (found.call, 7, "ok", 888)


def test_what_is_not_known_is_kept_as_it_stands() -> None:
    text = b'{"kind":"link.up","seq":0,"time":1,"v":2,"who":"nobody","later":{"a":1},"status":"x"}'
    found = read(text)
    assert found.facts == {"who": "nobody", "later": {"a": 1}, "status": "x"}
    assert found.who == Who()


@pytest.mark.parametrize(
    "text",
    [
        *(b"", b"[]", b"{}", b'{"seq":0,"time":0,"v":1}', b'{"kind":1,"seq":0,"time":0,"v":1}'),
        b'{"kind":"x","seq":-1,"time":0,"v":1}',
        b'{"kind":"x","seq":true,"time":0,"v":1}',
        b'{"kind":"x","seq":0,"seq":1,"time":0,"v":1}',
        b'{"kind":"x","seq":0,"time":NaN,"v":1}',
        b'{"kind":"x","seq":0,"time":0,"v":1} ',
        b'{"kind":"' + b"x" * MAX_RECORD + b'","seq":0,"time":0,"v":1}',
    ],
)
def test_what_is_no_record_is_refused(text: bytes) -> None:
    if text.endswith(b" "):
        assert read(text).kind == "x"  # blanks around JSON; the chain covers the bytes
        return
    with pytest.raises(RecordError):
        read(text)


@given(st.dictionaries(st.sampled_from([*MEMBERS, "x"]), JSON))
def test_any_json_is_a_record_or_none(facts: dict[str, object]) -> None:
    text = json.dumps({"kind": "x", "seq": 1, "time": 2, "v": 1, **facts}).encode()
    try:
        found = read(text)
    except RecordError:
        return
    assert isinstance(found.who.user, str)


@given(st.binary(max_size=100))
def test_any_bytes_are_a_record_or_none(data: bytes) -> None:
    for text in (data, b'{"kind":"x","seq":0,"time":0,"v":1,' + data + b"}"):
        try:
            read(text)
        except RecordError:
            continue


def test_a_user_is_one_text_whichever_way_it_is_said() -> None:
    assert user_text("ada") == "ada"
    assert user_text(["https://idp.example", "17"]) == "https://idp.example 17"
    assert user_text(None) == user_text(7) == ""


def test_every_member_and_every_kind_is_explained() -> None:
    """The tables are what docs/audit.md is held to, so they leave nothing out."""
    ours = {"version": "v", "tool_class": "class"}
    parts = {"who": Who, "what": What, "why": Why, "approval": model.Approval}
    wanted = {ours.get(each.name, each.name) for each in fields(Record)} - {"facts"}
    for name, part in parts.items():
        wanted |= {f"{name}.{ours.get(each.name, each.name)}" for each in fields(part)}
    assert set(MEMBERS) == wanted
    assert {kind.partition(".")[0] for kind in KINDS} <= set(FAMILIES)
