"""Calls and approvals, held against each other."""

from typing import Any

import pytest

from shared.record.crosscheck import MAX_FINDINGS, Calls

ARGUMENTS = "a" * 64


def seen(*records: dict[str, Any], first: int = 0) -> Calls:
    calls = Calls(first)
    for seq, record in enumerate(records, first):
        calls.see({"seq": seq, **record})
    return calls


def begun(call: str, approval: str | None = None, arguments: str = ARGUMENTS) -> dict[str, Any]:
    more = {} if approval is None else {"approval": {"id": approval, "arguments": arguments}}
    return {"kind": "call.intent", "call": call, **more}


def ended(call: str, intent: int) -> dict[str, Any]:
    return {"kind": "call.completion", "call": call, "intent": intent}


def granted(approval: str, **more: Any) -> dict[str, Any]:
    facts = {"id": approval, "arguments": ARGUMENTS, **more}
    return {"kind": "approval.granted", "approval": facts}


def asked(approval: str) -> dict[str, Any]:
    return {"kind": "approval.asked", "approval": {"id": approval, "arguments": ARGUMENTS}}


def mark(kind: str, day: float = 1, **more: Any) -> dict[str, Any]:
    return {"kind": f"audit.{kind}", "time": int(day * 86400e6), **more}


def used(approval: str, day: float) -> dict[str, Any]:
    return begun(f"of {approval}", approval) | {"time": int(day * 86400e6)}


OFF = mark("changed", changed={"on": [True, False]})
LESS = mark("changed", changed={"keep_days": [400, 30]})


def said(calls: Calls) -> list[tuple[str, int, bool]]:
    return [(each.kind, each.seq, each.grave) for each in calls.findings()]


def test_calls_that_began_and_ended_leave_nothing() -> None:
    calls = seen(begun("a"), begun("b"), ended("b", 1), ended("a", 0))
    assert (calls.open, said(calls)) == ({}, [])


@pytest.mark.parametrize(
    ("records", "found"),
    [
        ([begun("a"), begun("a")], ("begun twice", 1, True)),
        ([ended("a", 0)], ("ended without an intent", 0, True)),
        ([begun("a"), begun("b"), ended("a", 1)], ("ended another intent", 2, True)),
    ],
)
def test_calls_that_do_not_fit_are_found(
    records: list[dict[str, Any]], found: tuple[str, int, bool]
) -> None:
    assert said(seen(*records)) == [found]


def test_an_end_whose_intent_was_removed_is_no_fault() -> None:
    assert said(seen(ended("a", 3), first=10)) == []
    assert said(seen(ended("a", 10), first=10)) == [("ended without an intent", 10, True)]


def test_an_approval_and_its_call_bear_the_same_name_and_digest() -> None:
    """A20."""
    assert said(seen(granted("p"), begun("a", "p"), ended("a", 1))) == []


@pytest.mark.parametrize(
    ("records", "found"),
    [
        ([granted("p")], ("given, not used", 0, False)),
        ([asked("q"), begun("a", "q")], ("used, never given", 1, True)),
        ([granted("p"), begun("a", "p", "b" * 64)], ("approved for other arguments", 1, True)),
        ([begun("a", "p"), begun("b", "p")], ("approval used twice", 1, True)),
    ],
)
def test_approvals_and_calls_that_do_not_fit_are_found(
    records: list[dict[str, Any]], found: tuple[str, int, bool]
) -> None:
    """A20: an approval without its call, a call without its approval, or one for something else."""
    assert found in said(seen(*records))


@pytest.mark.parametrize(
    "records",
    [
        [mark("opened"), granted("p"), begun("a", "q")],
        [mark("opened"), granted("p"), used("q", 7.9)],
        [mark("opened"), asked("q"), OFF, mark("opened"), begun("a", "q")],
        [mark("opened"), granted("p"), mark("changed", 9, changed={"on": []}), used("q", 10)],
    ],
)
def test_what_was_given_while_no_log_was_kept_breaks_none(records: list[dict[str, Any]]) -> None:
    """A log begun anew, turned off for a while, or that lost its end cannot know of it."""
    found = [each for each in said(seen(*records)) if each[0].startswith("used")]
    assert found == [("used, given while no log was kept", len(records) - 1, False)]


@pytest.mark.parametrize(
    "records",
    [
        [mark("opened"), asked("q"), mark("closed"), mark("opened"), begun("a", "q")],
        [mark("opened"), OFF, mark("opened"), asked("q"), begun("a", "q")],
        [mark("opened"), asked("q"), mark("gap"), begun("a", "q")],
        [mark("opened"), asked("q"), mark("recovered"), mark("opened"), begun("a", "q")],
        [mark("opened"), asked("q"), LESS, mark("opened"), begun("a", "q")],
        [mark("opened"), granted("p"), used("q", 8.1)],
        [mark("opened"), granted("p"), mark("recovered", 9), mark("gap", 9), used("q", 10)],
    ],
)
def test_what_a_log_would_know_if_it_had_been_given_was_not(records: list[dict[str, Any]]) -> None:
    """The question is there and the answer is not, or nobody asks and waits for so long."""
    assert ("used, never given", len(records) - 1, True) in said(seen(*records))


@pytest.mark.parametrize(
    ("gave", "used", "fits"),
    [
        ({"approvers": ["carol"]}, {"approvers": ["carol"]}, True),
        ({"approvers": ["carol", "dora"]}, {"approvers": ["dora", "carol"]}, True),
        ({"approvers": ["carol"]}, {"approvers": ["dave"]}, False),
        ({"approvers": ["carol"]}, {}, False),
        ({"approvers": ["carol"]}, {"approvers": ["carol", "dave"]}, False),
        ({"keys": ["of carol"]}, {"keys": ["of carol", "of the relay"]}, True),
        ({"keys": ["of carol"]}, {"keys": ["of the relay"]}, False),
    ],
)
def test_an_approval_is_used_as_the_word_of_those_who_gave_it(
    gave: dict[str, Any], used: dict[str, Any], fits: bool
) -> None:
    call = begun("a", "p")
    call["approval"] |= used
    found = [] if fits else [("approved by others", 2, True)]
    assert said(seen(asked("p"), granted("p", **gave), call, ended("a", 2))) == found


def test_what_proves_nothing_takes_no_place_of_what_does() -> None:
    many = [used(f"a{number}", 2) for number in range(MAX_FINDINGS)]
    calls = seen(mark("opened"), *many, asked("q"), begun("x", "q"))
    assert ("used, never given", MAX_FINDINGS + 2, True) in said(calls)


def test_a_log_whose_beginning_was_removed_is_not_asked_who_gave_before() -> None:
    records = [mark("opened", 1), granted("p"), used("q", 20)]
    assert said(seen(*records, first=100))[0][2] is False


def test_a_log_speaks_of_giving_also_where_all_that_was_given_was_used() -> None:
    calls = seen(mark("opened"), granted("p"), begun("a", "p"), ended("a", 2), used("q", 20))
    assert said(calls) == [("used, never given", 4, True)]


def test_a_log_that_does_not_speak_of_giving_is_not_asked_who_gave() -> None:
    """A client's log has what was used; what was given is the relay's to say."""
    assert said(seen(begun("a", "p"))) == []


def test_records_that_are_none_of_ours_end_nothing() -> None:
    odd: list[dict[str, Any]] = [
        {"kind": "call.intent"},
        {"kind": "call.completion", "call": 7, "intent": "x"},
    ]
    odd += [
        {"kind": "approval.granted", "approval": approval} for approval in (None, {}, {"id": 1})
    ]
    assert isinstance(said(seen(*odd)), list)
