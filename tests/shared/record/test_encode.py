"""Every quick spelling is the canonical one."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.jsonrpc.canonical import canonical, exact
from shared.record import encode
from shared.record.model import MAX_RECORD, Delivery, Result, read
from shared.record.redact import Redactor

TEXT = st.text(st.characters(codec="utf-8"), max_size=12)
FACTS = st.dictionaries(TEXT, st.one_of(st.none(), TEXT, st.integers(0, 2**53)), max_size=5)
COUNT = st.integers(0, 2**53)
HEX = st.text("0123456789abcdef", min_size=16, max_size=16)
ARGUMENTS = st.dictionaries(TEXT, st.one_of(TEXT, COUNT, st.lists(TEXT, max_size=3)), max_size=4)


@given(FACTS, FACTS, FACTS, FACTS, ARGUMENTS, HEX, COUNT, COUNT, st.booleans(), st.booleans())
def test_an_intent_is_spelled_canonically(
    what: dict[str, Any],
    who: dict[str, Any],
    why: dict[str, Any],
    approval: dict[str, Any],
    given_: dict[str, Any],
    link: str,
    seq: int,
    now: int,
    approved: bool,
    traced: bool,
) -> None:
    redactor = Redactor(b"k" * 32, {"read": [name for name in given_ if len(name) % 2]})
    arguments = redactor.arguments(given_, redactor.fields(list(given_)[:3], "read"))
    spelled = encode.intent(
        f"{link}.{seq}".encode(),
        seq,
        now,
        arguments,
        b"e" * 64,
        encode.said(what, who, why),
        approval=encode.before(approval) if approved else b"",
        trace=encode.traced(link) if traced else b"",
    )
    wanted = {
        **({"approval": approval} if approved else {}),
        **({"trace": link} if traced else {}),
        "arguments": json.loads(arguments),
        "body": "e" * 64,
        "call": f"{link}.{seq}",
        "kind": "call.intent",
        "seq": seq,
        "time": now,
        "v": 1,
        "what": what,
        "who": who,
        "why": why,
    }
    assert spelled == canonical(wanted) == canonical(exact(spelled))


@given(HEX, *[COUNT] * 7, st.sampled_from(Result), st.sampled_from(Delivery))
def test_a_completion_is_spelled_canonically(
    link: str,
    seq: int,
    now: int,
    begun: int,
    status: int,
    size: int,
    us: int,
    hits: int,
    result: Result,
    delivery: Delivery,
) -> None:
    spelled = encode.completion(
        *(link.encode(), seq, now, begun, result.encode(), delivery.encode()),
        *(status, size, us, hits),
    )
    assert spelled == canonical(exact(spelled))
    found = read(spelled)
    assert (found.call, found.seq, found.time, found.intent) == (link, seq, now, begun)
    assert (found.result, found.delivery, found.status) == (result, delivery, status)
    assert (found.bytes, found.us, found.scrub_hits) == (size, us, hits)


@given(FACTS, COUNT, COUNT)
def test_an_event_says_its_own_kind_number_and_time(
    facts: dict[str, Any], seq: int, now: int
) -> None:
    """What is said of an event cannot stand in the place of what the log says of it."""
    claimed = {**facts, "seq": -1, "kind": "call.intent", "time": 0, "v": 9}
    found = json.loads(encode.event("link.up", claimed, seq, now))
    assert {**facts, "seq": seq, "kind": "link.up", "time": now, "v": 1} == found


TINY = {f"{number:06}": "" for number in range(MAX_RECORD // 8)}
LONG = "x" * MAX_RECORD


@pytest.mark.parametrize(
    ("facts", "left"),
    [
        ({"arguments": {"n": LONG}, "body": "e" * 64}, {"arguments": MAX_RECORD + 8}),
        ({"reason": LONG[:-200], "why": {"rule": LONG[:200]}}, {"reason": MAX_RECORD - 198}),
        (
            {"reason": LONG, "who": {"user": LONG}},
            {"reason": MAX_RECORD + 2, "who": MAX_RECORD + 11},
        ),
    ],
)
def test_a_record_that_nobody_would_read_says_how_long_its_members_were(
    facts: dict[str, Any], left: dict[str, int]
) -> None:
    records = [b"{}", encode.event("call.intent", {"call": "0.1", **facts}, 8, 5), b"{}"]
    before = sum(map(len, records))
    saved = encode.shorten(records, 10, 0)
    assert before - sum(map(len, records)) == saved > 0
    assert (records[0], records[2]) == (b"{}", b"{}")
    assert records[1] == canonical(json.loads(records[1]))
    found = read(records[1])
    assert (found.seq, found.time, found.kind, found.call) == (8, 5, "call.intent", "0.1")
    shown = json.loads(records[1])
    assert {name: shown[name] for name in left} == {
        name: {"*": {"bytes": size}} for name, size in left.items()
    }
    assert {name: shown[name] for name in facts if name not in left} == {
        name: value for name, value in facts.items() if name not in left
    }


def test_a_record_that_is_long_in_every_way_is_short_all_the_same() -> None:
    deep: Any = LONG
    for _ in range(400):
        deep = [deep]
    records = [encode.event("admin.asked", TINY, 0, 5), encode.event("link.up", {"n": deep}, 1, 5)]
    encode.shorten(records, 2, 7)
    assert json.loads(records[0]) == {"kind": "admin.asked", "seq": 0, "time": 5, "v": 1}
    found = read(records[1])
    assert (found.seq, found.time, found.kind, found.facts["lost"]) == (1, 7, "audit.gap", 1)
