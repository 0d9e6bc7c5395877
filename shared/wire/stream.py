"""The life of a stream as a table: what is absent is illegal.

A stream carries one HTTP exchange. The relay opens it and sends the request; the client answers
with a head and a body. Both ends use the same table: what differs is only who is to blame.
"""

from enum import IntEnum

from shared.errors import MisuseError, PeerError


class State(IntEnum):
    """Where the two directions of a stream stand."""

    IDLE = 0
    OPEN = 1
    """The request is still coming; no head yet."""
    SENT = 2
    """The whole request is there; no head yet."""
    ANSWERING = 3
    """A head came before the request was whole."""
    RECEIVING = 4
    """The request is whole, the response is coming."""
    ANSWERED = 5
    """The whole response came before the request was whole."""
    CLOSED = 6


class Input(IntEnum):
    """What can happen to a stream; END inputs are frames with the END flag."""

    OPEN = 0
    OPEN_END = 1
    REQUEST_DATA = 2
    REQUEST_END = 3
    HEAD = 4
    HEAD_END = 5
    RESPONSE_DATA = 6
    RESPONSE_END = 7
    RESET = 8


TRANSITIONS: dict[tuple[State, Input], State] = {
    (State.IDLE, Input.OPEN): State.OPEN,
    (State.IDLE, Input.OPEN_END): State.SENT,
    (State.OPEN, Input.REQUEST_DATA): State.OPEN,
    (State.OPEN, Input.REQUEST_END): State.SENT,
    (State.OPEN, Input.HEAD): State.ANSWERING,
    (State.OPEN, Input.HEAD_END): State.ANSWERED,
    (State.SENT, Input.HEAD): State.RECEIVING,
    (State.SENT, Input.HEAD_END): State.CLOSED,
    (State.ANSWERING, Input.REQUEST_DATA): State.ANSWERING,
    (State.ANSWERING, Input.REQUEST_END): State.RECEIVING,
    (State.ANSWERING, Input.RESPONSE_DATA): State.ANSWERING,
    (State.ANSWERING, Input.RESPONSE_END): State.ANSWERED,
    (State.RECEIVING, Input.RESPONSE_DATA): State.RECEIVING,
    (State.RECEIVING, Input.RESPONSE_END): State.CLOSED,
    (State.ANSWERED, Input.REQUEST_DATA): State.ANSWERED,
    (State.ANSWERED, Input.REQUEST_END): State.CLOSED,
    (State.OPEN, Input.RESET): State.CLOSED,
    (State.SENT, Input.RESET): State.CLOSED,
    (State.ANSWERING, Input.RESET): State.CLOSED,
    (State.RECEIVING, Input.RESET): State.CLOSED,
    (State.ANSWERED, Input.RESET): State.CLOSED,
}


def step(state: State, happened: Input, *, local: bool) -> State:
    """Return the state after `happened`; raises MisuseError for us and PeerError for the peer."""
    after = TRANSITIONS.get((state, happened))
    if after is None:
        error = MisuseError if local else PeerError
        raise error(f"{happened.name} while {state.name}")
    return after
