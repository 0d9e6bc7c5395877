"""How streams of a link end: in one answer or one error, and what comes late is dropped."""

import pytest

from shared.errors import MisuseError, ResetCode
from shared.wire import codec
from shared.wire.events import Event, Headed, Received, Responded, WasReset
from shared.wire.frames import FLAG_END, FrameType
from shared.wire.limits import KIB
from shared.wire.mux import Mux, Role
from tests.shared.wire.pair import HEAD, OPEN, SMALL, Pair, Peer, consume, frame, pump, take_all


def answered(frames: list[bytes]) -> tuple[list[Event], Mux]:
    """Give the relay's end an answer to its stream 1; returns what it reports."""
    peer = Peer(Role.RELAY)
    peer.mux.open(OPEN, b"")
    take_all(peer.mux)
    return peer.send(*frames), peer.mux


@pytest.mark.parametrize(
    ("frames", "events"),
    [
        (
            [frame(FrameType.HEAD, 1, HEAD), frame(FrameType.HEAD, 1, HEAD)],
            [Headed(1, HEAD, False), WasReset(1, ResetCode.PROTOCOL, "HEAD while RECEIVING")],
        ),
        (
            [
                frame(FrameType.RESPONSE, 1, codec.encode_whole(HEAD, b"all")),
                frame(FrameType.RESPONSE, 1, codec.encode_whole(HEAD, b"more")),
            ],
            [Responded(1, HEAD, b"all")],
        ),
        (
            [
                frame(FrameType.HEAD, 1, HEAD),
                frame(FrameType.RESPONSE, 1, codec.encode_whole(HEAD, b"more")),
            ],
            [Headed(1, HEAD, False), WasReset(1, ResetCode.PROTOCOL, "HEAD_END while RECEIVING")],
        ),
        (
            [frame(FrameType.DATA, 1, b"x", FLAG_END)],
            [WasReset(1, ResetCode.PROTOCOL, "RESPONSE_END while SENT")],
        ),
        (
            [frame(FrameType.HEAD, 1, HEAD, FLAG_END), frame(FrameType.DATA, 1, b"more")],
            [Headed(1, HEAD, True)],
        ),
        (
            [
                frame(FrameType.HEAD, 1, HEAD),
                frame(FrameType.DATA, 1, b"all", FLAG_END),
                frame(FrameType.DATA, 1, b"more"),
            ],
            [Headed(1, HEAD, False), Received(1, b"all", True)],
        ),
        (
            [
                frame(FrameType.HEAD, 1, HEAD),
                frame(FrameType.DATA, 1, b"all", FLAG_END),
                frame(FrameType.RESET, 1, codec.encode_reset(ResetCode.TIMEOUT, "")),
            ],
            [Headed(1, HEAD, False), Received(1, b"all", True)],
        ),
        (
            [frame(FrameType.HEAD, 1, HEAD), frame(FrameType.DATA, 1, b"")],
            [Headed(1, HEAD, False), WasReset(1, ResetCode.PROTOCOL, "empty frame")],
        ),
    ],
    ids=[
        "second head",
        "second whole",
        "whole after head",
        "body before head",
        "late 1",
        "late 2",
        "reset after end",
        "empty",
    ],
)
def test_an_answer_that_breaks_the_rules_is_one_error_or_one_answer_t20(
    frames: list[bytes], events: list[Event]
) -> None:
    """T20: the caller gets one error or one whole answer, never mixed bodies."""
    got, relay = answered(frames)
    assert got == events
    consume(relay, got)
    assert relay.open_streams == 0


def test_a_reset_reaches_the_other_side_once_and_frames_in_flight_are_dropped() -> None:
    pair = Pair()
    stream = pair.open(b"request")
    pair.client.send_head(stream, HEAD, end=False)
    pair.client.send_data(stream, bytes(10 * KIB), end=False)
    in_flight = take_all(pair.client)
    pair.relay.reset(stream, ResetCode.CANCELLED, "the agent left")
    pair.relay.reset(stream, ResetCode.CANCELLED, "again")
    assert [event for m in in_flight for event in pair.relay.receive_message(m, 0.0)] == []
    assert pump(pair.relay, pair.client) == [
        WasReset(stream, ResetCode.CANCELLED, "the agent left")
    ]
    assert pair.open_streams == (0, 0)


def test_what_is_said_to_a_stream_that_is_over_is_ignored() -> None:
    pair = Pair()
    stream = pair.open()
    pair.relay.reset(stream, ResetCode.CANCELLED)
    pump(pair.relay, pair.client)
    pair.client.send_head(stream, HEAD, end=False)
    assert pair.client.send_data(stream, b"late", end=True)
    pair.client.reset(stream, ResetCode.TIMEOUT)
    pair.client.consumed(stream, 10, 0.0)
    assert pump(pair.client, pair.relay) == []


def test_a_reset_gives_the_links_credit_back() -> None:
    pair = Pair()
    for _ in range(20):
        stream = pair.open()
        pair.client.send_head(stream, HEAD, end=False)
        pair.client.send_data(stream, bytes(4 * KIB), end=False)
        pump(pair.client, pair.relay)
        pair.relay.reset(stream, ResetCode.CANCELLED)
        pair.settle()
    assert pair.client._outbox.link.available > SMALL.link_window // 2


def test_an_order_of_ours_that_is_out_of_turn_is_a_bug_of_ours() -> None:
    pair = Pair()
    stream = pair.open()
    with pytest.raises(MisuseError):
        pair.client.send_data(stream, b"body before head", end=False)


def test_text_for_people_never_breaks_the_link() -> None:
    pair = Pair()
    stream = pair.open()
    pair.client.reset(
        stream, ResetCode.UPSTREAM_BROKE, "refused:\n\tname \u00fc\x1b[2J" + "x" * 500
    )
    (event,) = pump(pair.client, pair.relay)
    assert isinstance(event, WasReset)
    assert event.detail.startswith("refused:??name \\xfc?[2J")
