"""The life of a stream as a table: complete, without dead ends, and blaming the right side."""

import pytest

from shared.errors import MisuseError, PeerError
from shared.wire.stream import TRANSITIONS, Input, State, step

PAIRS = [(state, happened) for state in State for happened in Input]


def test_every_state_can_be_reached_and_left_but_the_last() -> None:
    reached = {State.IDLE}
    while grown := {TRANSITIONS[at] for at in TRANSITIONS if at[0] in reached} - reached:
        reached |= grown
    assert reached == set(State)
    assert {state for state, _ in TRANSITIONS} == set(State) - {State.CLOSED}


@pytest.mark.parametrize("state", sorted(set(State) - {State.IDLE, State.CLOSED}))
def test_a_reset_ends_a_stream_in_any_state(state: State) -> None:
    assert step(state, Input.RESET, local=True) is State.CLOSED


@pytest.mark.parametrize("state", sorted(set(State) - {State.IDLE}))
def test_a_stream_is_opened_once(state: State) -> None:
    for happened in (Input.OPEN, Input.OPEN_END):
        assert (state, happened) not in TRANSITIONS


def test_there_is_one_head_and_nothing_of_the_answer_before_it_or_after_the_end() -> None:
    heads = {state for state, happened in TRANSITIONS if happened in (Input.HEAD, Input.HEAD_END)}
    bodies = {
        state
        for state, happened in TRANSITIONS
        if happened in (Input.RESPONSE_DATA, Input.RESPONSE_END)
    }
    assert heads == {State.OPEN, State.SENT}
    assert bodies == {State.ANSWERING, State.RECEIVING}


@pytest.mark.parametrize(("state", "happened"), sorted(set(PAIRS) - set(TRANSITIONS)))
def test_what_is_absent_is_illegal_and_blames_who_did_it(state: State, happened: Input) -> None:
    with pytest.raises(MisuseError):
        step(state, happened, local=True)
    with pytest.raises(PeerError):
        step(state, happened, local=False)
