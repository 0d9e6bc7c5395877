"""What is matched without parsing is what parsing finds, whatever the bytes are."""

from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from shared.record import encode
from shared.record.model import parse
from shared.record.repeats import COMPLETION, MAX_KNOWN, Intents
from shared.record.verify import verify
from tests.helpers.log_lines import SAID, chained, completion, intent, points_of

PARTS = (
    *(b'"kind":"call.intent",', b'"v":1,', b'"what":{},', b'"approval":{"id":"a"},', b"}", b"{"),
    *(b'"arguments":{},', b'"seq":7,', b'"seq":7,"seq":8,', b"\\", b'"', b"\xff", b"\0", b"NaN"),
    *(b'"call":"0.1",', b',"why":{}', b"0", b"-1", b"1e5", b" ", b"\n"),
)
ARGUMENTS = (
    *(b"{}", b'{"id":"hmac:%032x"}' % 7, b'{"a":1,"a":2}', b'{"a":"x\\"y","b":[true,1.5]}'),
    *(b'{"kind":"call.intent","seq":9,"v":1,"what":"x"}', b'{"a":NaN}', b'{"a":{"b":1}}', b"[]"),
)


@st.composite
def spoiled(draw: st.DrawFn) -> bytes:
    """Return a record of a call with parts put in, left out or exchanged."""
    number = draw(st.integers(0, 2**70))
    record = draw(
        st.sampled_from(
            [
                completion(8, 3, 7),
                intent(7, 3),
                intent(7, 3, trace=encode.traced("a" * 32)),
                intent(7, 3, approval=encode.before({"id": "a1", "approvers": ["eve"]})),
                *(
                    encode.intent(b"feed.1", number, number, each, b"f" * 64, SAID)
                    for each in ARGUMENTS
                ),
            ]
        )
    )
    for _ in range(draw(st.integers(0, 3))):
        at, end = sorted((draw(st.integers(0, len(record))), draw(st.integers(0, len(record)))))
        end = draw(st.sampled_from((at, min(end, at + 20))))
        record = record[:at] + draw(st.sampled_from(PARTS)) + record[end:]
    return record


@given(spoiled())
@example(intent(7, 3)[:-1] + b',"approval":{"id":"a1"}}')
@example(intent(7, 3, SAID + b',"call":"0.1"'))
def test_what_is_matched_is_what_is_parsed(record: bytes) -> None:
    ended = COMPLETION.fullmatch(record)
    begun = Intents().match(record)
    if ended is not None:
        facts = parse(record)
        call, of, result, seq, when = ended.groups()
        assert [facts[each] for each in ("call", "result")] == [call.decode(), result.decode()]
        assert [facts[each] for each in ("intent", "seq", "time")] == list(
            map(int, (of, seq, when))
        )
        assert facts["kind"] == "call.completion"
    if begun is not None:
        facts = parse(record)
        assert facts["call"] == begun[2].decode()
        assert [facts["seq"], facts["time"]] == [int(begun[3]), int(begun[4])]
        assert (facts["kind"], facts.get("approval")) == ("call.intent", None)
        end: dict[str, Any] = parse(b'{"kind":"","seq":0,"time":0,' + begun[5])
        assert all(facts[each] == end[each] for each in ("what", "who", "why", "v"))


def test_what_our_writer_spells_is_matched() -> None:
    intents = Intents()
    for arguments in ARGUMENTS[:2] + ARGUMENTS[3:5]:
        record = encode.intent(b"0" * 16 + b".7", 7, 8, arguments, b"f" * 64, SAID)
        assert intents.match(record) is not None, arguments
    assert intents.match(intent(7, 3, trace=encode.traced("a" * 32 + "-" + "b" * 16))) is not None
    assert COMPLETION.fullmatch(completion(8, 3, 7, b"revoked_in_flight")) is not None
    assert intents.match(intent(7, 3, approval=encode.before({"id": "a1"}))) is None


def test_ends_are_not_remembered_without_bound() -> None:
    intents = Intents()
    for number in range(MAX_KNOWN + 10):
        said = encode.said({"name": str(number)}, {}, {})
        assert intents.match(intent(7, 3, said)) is not None
    assert len(intents._known) == 10


@pytest.mark.parametrize("spaced", [False, True], ids=["as we spell it", "as others do"])
def test_calls_are_looked_at_alike_in_any_spelling(spaced: bool) -> None:
    found = [
        intent(0, 1),
        completion(1, 1, 0),
        intent(2, 2),
        intent(3, 2),
        completion(4, 9, 2),
        completion(5, 2, 2),
    ]
    if spaced:
        found = [each.replace(b'"kind":', b'"kind": ') for each in found]
    lines = chained(found)
    report = verify(lines, points_of(lines, 8))
    assert [(each.kind, each.seq) for each in report.findings] == [
        ("begun twice", 3),
        ("ended without an intent", 4),
        ("ended another intent", 5),
    ]
