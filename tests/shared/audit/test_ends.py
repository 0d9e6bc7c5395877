"""Which calls are under way is read from what records say themselves, not from what they quote."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.audit.ends import begun, note_calls, open_after
from shared.audit.recovery import ended_by_restart
from shared.audit.segments import Segment
from shared.jsonrpc.canonical import canonical
from shared.record import encode
from shared.record.crosscheck import Calls
from shared.record.model import COMPLETION, INTENT, parse
from tests.helpers.log_lines import call_name, chained, completion, intent

QUERY = {"call": "l.1", "kind": "call.intent", "since": 1.0}
"""What an auditor may ask for; he knows no record's number."""


def followed(records: list[bytes], before: dict[str, int] | None = None) -> dict[str, int]:
    calls = dict(before or {})
    note_calls(chained(records), calls)
    return calls


def clear(seq: int, number: int, values: dict[str, Any]) -> bytes:
    """Return an intent whose arguments are in clear."""
    arguments = canonical(values)
    return encode.intent(call_name(number), seq, 1, arguments, b"f" * 64, b'"what":{},"who":{}')


def test_a_call_is_under_way_from_its_intent_to_its_completion() -> None:
    first, second = (call_name(number).decode() for number in (1, 2))
    assert followed([intent(0, 1), intent(1, 2)]) == {first: 0, second: 1}
    assert followed([intent(0, 1), intent(1, 2), completion(2, 1, 0)]) == {second: 1}
    assert followed([completion(7, 1, 3)], {first: 3, second: 4}) == {second: 4}


@pytest.mark.parametrize(
    "more",
    [
        {"approval": encode.before({"id": "a", "approvers": ["ann", "bob"]})},
        {"trace": encode.traced("ab" * 16)},
    ],
)
def test_an_intent_counts_however_it_is_spelled(more: dict[str, bytes]) -> None:
    assert followed([intent(0, 1, **more)]) == {call_name(1).decode(): 0}
    slowly = encode.event(INTENT, {"call": "Any name", "seq_": {"seq": 9}}, 4, 1)
    assert followed([slowly]) == {"Any name": 4}


def test_what_a_restart_says_of_a_call_ends_it() -> None:
    name = call_name(1).decode()
    ended = encode.event(COMPLETION, ended_by_restart(name, 0), 1, 1)
    assert followed([intent(0, 1), ended]) == {}


@pytest.mark.parametrize("kind", [INTENT, COMPLETION])
@pytest.mark.parametrize("behind", [{"since": 1.0}, {"limit": 5}, {"seq": 0}, {"seq": 0, "t": 1}])
def test_what_somebody_asked_for_is_no_call(kind: str, behind: dict[str, Any]) -> None:
    asked = {"call": call_name(1).decode(), "kind": kind, **behind}
    viewed = encode.event("audit.viewed", {"asked": asked, "by": "otto"}, 1, 1)
    assert followed([viewed]) == {}
    assert followed([intent(0, 1), viewed]) == {call_name(1).decode(): 0}


@pytest.mark.parametrize("kind", [INTENT, COMPLETION])
def test_arguments_in_clear_are_nobody_elses_call(kind: str) -> None:
    """A09: an agent that names a call of somebody else neither ends it nor hides its own."""
    first, second = (call_name(number).decode() for number in (1, 2))
    for values in ({"limit": 5}, {"deep": {"a": 1}, "limit": 5}, {"seq": 3, "text": "}"}):
        own = clear(1, 2, {"call": first, "kind": kind, **values})
        assert followed([intent(0, 1), own]) == {first: 0, second: 1}


NAMES = st.sampled_from(["l.1", "l.2", "Other", ""])
KINDS = st.sampled_from([INTENT, COMPLETION, "audit.viewed", "call.refused"])
TEXT = st.text('{}",:\\body', max_size=12)
QUOTED = {"call": NAMES, "kind": KINDS, "seq": st.integers(0), "text": TEXT, "x": st.just({})}
NESTED = st.fixed_dictionaries({}, optional=QUOTED)
FACTS = st.fixed_dictionaries({"call": NAMES}, optional={"arguments": NESTED, "intent": st.just(0)})


@given(st.lists(st.tuples(KINDS, FACTS, st.booleans())))
def test_a_start_and_a_verifier_find_the_same_calls(
    records: list[tuple[str, dict[str, Any], bool]],
) -> None:
    made, verifier = list[bytes](), Calls()
    for seq, (kind, facts, quickly) in enumerate(records):
        given = facts.get("arguments", {})
        made.append(clear(seq, 1, given) if quickly else encode.event(kind, facts, seq, 1))
        verifier.see(parse(made[-1]))
    assert followed(made) == verifier.open


@given(st.lists(st.binary(max_size=80)))
def test_what_is_no_record_is_no_call(lines: list[bytes]) -> None:
    calls = {"l.1": 0}
    note_calls([*lines, *(line + b'"kind":"call.completion"' for line in lines)], calls)
    assert calls == {"l.1": 0}


def test_calls_that_never_were_are_left_out_and_what_cannot_be_looked_up_is_not(
    tmp_path: Path,
) -> None:
    """Nothing vouches for the calls that an end names: an older version may have misread them."""
    parts = [Segment(first, tmp_path / f"{first:016d}.jsonl") for first in (10, 14, 18)]
    lines = chained([intent(10, 1), intent(11, 2), completion(12, 1, 10), intent(13, 3)])
    parts[0].path.write_bytes(b"".join(lines))
    parts[1].path.write_bytes(b"".join(chained([intent(14, 4), intent(15, 5)])))
    names = [call_name(number).decode() for number in range(6)]
    kept = {names[2]: 11, names[4]: 14, "removed.1": 9, "gone.1": 16, "unread.1": 18, "new.1": 20}
    odd = {names[1]: 12, names[3]: 11, "never.1": 13}
    assert begun(parts, {**odd, **kept}, 20) == kept
    assert begun([], kept, 20) == kept
    assert open_after(parts[0].path, {}) == {names[2]: 11, names[3]: 13}
