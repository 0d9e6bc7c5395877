"""One link end after the handshake: who may say what, what ends a stream, what ends the link."""

import pytest

from shared.errors import MisuseError, PeerError, ResetCode, TooBigError
from shared.wire import codec, mux
from shared.wire.events import (
    Catalogued,
    Draining,
    Event,
    Granted,
    Headed,
    Opened,
    Ponged,
    Received,
    Requested,
    Responded,
    RevokeAsked,
    RevokeDone,
    ToolsTold,
    WasReset,
)
from shared.wire.frames import FLAG_END, FrameType, decode_message_header, encode_message
from shared.wire.limits import (
    KIB,
    MAX_GRANT_BYTES,
    MAX_HEAD_BYTES,
    MAX_INLINE_BYTES,
    MAX_STREAM_ID,
    LinkLimits,
)
from shared.wire.mux import Mux, Role
from shared.wire.sequence import ACK_EVERY
from shared.wire.streams import MAX_STREAM_FAULTS
from shared.wire.tools import encode_tools
from tests.shared.wire.golden import TOOL
from tests.shared.wire.pair import (
    HEAD,
    OPEN,
    SESSION,
    SMALL,
    Pair,
    Peer,
    consume,
    frame,
    pump,
    take_all,
)

PING = b"8 bytes."


# A whole exchange --------------------------------------------------------------------------------


def test_a_call_crosses_and_leaves_nothing_behind() -> None:
    pair = Pair()
    stream = pair.relay.open(OPEN, b"request")
    events = pump(pair.relay, pair.client)
    assert events == [Opened(stream, OPEN, False), Received(stream, b"request", True)]
    consume(pair.client, events)
    pair.client.send_head(stream, HEAD, end=False)
    assert pair.client.send_data(stream, b"response", end=True)
    events = pump(pair.client, pair.relay)
    assert events == [Headed(stream, HEAD, False), Received(stream, b"response", True)]
    assert pair.open_streams == (1, 0)
    consume(pair.relay, events)
    assert pair.open_streams == (0, 0)


def test_a_small_call_is_one_frame_each_way_and_needs_no_credit() -> None:
    pair = Pair(LinkLimits(stream_window=1, link_window=1))
    stream = pair.relay.request(OPEN, b"request")
    assert pump(pair.relay, pair.client) == [Requested(stream, OPEN, b"request")]
    pair.client.respond(stream, HEAD, b"response")
    assert pump(pair.client, pair.relay) == [Responded(stream, HEAD, b"response")]
    assert pair.open_streams == (0, 0)
    assert pair.relay.sequence._sent == pair.client.sequence._sent == 1


def test_a_large_request_is_sent_in_frames() -> None:
    pair = Pair(LinkLimits())
    stream = pair.relay.request(OPEN, bytes(MAX_INLINE_BYTES + 1))
    events = pump(pair.relay, pair.client)
    assert events[0] == Opened(stream, OPEN, False)
    assert len(consume(pair.client, events)) == MAX_INLINE_BYTES + 1


def test_an_answer_in_one_frame_to_a_stream_that_is_over_is_ignored() -> None:
    pair = Pair()
    stream = pair.relay.request(OPEN, b"request")
    pump(pair.relay, pair.client)
    pair.client.respond(stream, HEAD, b"response")
    pair.relay.reset(stream, ResetCode.CANCELLED)
    assert pump(pair.client, pair.relay) == []
    pair.client.respond(stream, HEAD, b"again")
    assert pump(pair.relay, pair.client) == []


def test_one_turn_of_calls_is_one_message() -> None:
    pair = Pair()
    for _ in range(4):
        pair.relay.open(OPEN, b"request")
    assert len(take_all(pair.relay)) == 1


def test_a_request_without_a_body_ends_with_its_head() -> None:
    pair = Pair()
    stream = pair.relay.open(OPEN, b"")
    assert pump(pair.relay, pair.client) == [Opened(stream, OPEN, True)]


def test_a_response_without_a_body_ends_with_its_head() -> None:
    pair = Pair()
    stream = pair.open()
    pair.client.send_head(stream, HEAD, end=True)
    assert pump(pair.client, pair.relay) == [Headed(stream, HEAD, True)]
    assert pair.open_streams == (0, 0)


def test_an_answer_may_come_before_the_request_is_whole() -> None:
    pair = Pair()
    body = b"x" * (6 * KIB)
    stream = pair.relay.open(OPEN, body)
    early = pump(pair.relay, pair.client)
    pair.client.send_head(stream, HEAD, end=True)
    assert pump(pair.client, pair.relay) == [Headed(stream, HEAD, True)]
    got = consume(pair.client, early)
    while events := (pump(pair.client, pair.relay), pump(pair.relay, pair.client))[1]:
        got += consume(pair.client, events)
    assert got == body
    assert pair.open_streams == (0, 0)


def test_an_empty_chunk_is_not_worth_a_frame() -> None:
    pair = Pair()
    stream = pair.open()
    pair.client.send_head(stream, HEAD, end=False)
    assert pair.client.send_data(stream, b"", end=False)
    assert pump(pair.client, pair.relay) == [Headed(stream, HEAD, False)]


def test_facts_of_the_link_reach_the_other_side() -> None:
    pair = Pair()
    pair.relay.drain("moving")
    pair.relay.revoke(7, SESSION)
    pair.relay.ping(PING)
    assert pump(pair.relay, pair.client) == [Draining("moving"), RevokeAsked(7, SESSION)]
    pair.client.catalog(["git", "time"])
    pair.client.revoked(7, 3)
    pair.client.tools("time", [TOOL])
    assert pump(pair.client, pair.relay) == [
        Ponged(PING),
        Catalogued(["git", "time"]),
        RevokeDone(7, 3),
        ToolsTold("time", [TOOL]),
    ]


def test_a_grant_comes_before_the_streams_that_were_opened_after_it() -> None:
    pair = Pair()
    pair.relay.open(OPEN, b"")
    pair.relay.grant(b"first")
    pair.relay.request(OPEN, b"")
    pair.relay.grant(b"second")
    pair.relay.open(OPEN, b"")
    assert pump(pair.relay, pair.client) == [
        Opened(1, OPEN, True),
        Granted(b"first"),
        Requested(2, OPEN, b""),
        Granted(b"second"),
        Opened(3, OPEN, True),
    ]


def test_a_grant_over_its_limit_ends_the_link_r19() -> None:
    """R19."""
    peer = Peer(Role.CLIENT)
    assert peer.send(frame(FrameType.GRANT, 0, bytes(MAX_GRANT_BYTES))) != []
    refused = peer.refused(frame(FrameType.GRANT, 0, bytes(MAX_GRANT_BYTES + 1)))
    assert refused.close_code == 1009


def test_tools_that_nobody_can_read_end_the_link_r19() -> None:
    """R19."""
    assert Peer(Role.RELAY).refused(frame(FrameType.TOOLS, 0, b"{}")).close_code == 1002


# Who may say what --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("role", "kind", "stream", "payload"),
    [
        (Role.RELAY, FrameType.OPEN, 1, OPEN),
        (Role.RELAY, FrameType.REQUEST, 1, codec.encode_whole(OPEN, b"")),
        (Role.CLIENT, FrameType.RESPONSE, 1, codec.encode_whole(HEAD, b"")),
        (Role.RELAY, FrameType.DRAIN, 0, b""),
        (Role.RELAY, FrameType.REVOKE, 0, bytes(36)),
        (Role.CLIENT, FrameType.HEAD, 1, HEAD),
        (Role.CLIENT, FrameType.CATALOG, 0, b""),
        (Role.CLIENT, FrameType.REVOKED, 0, bytes(8)),
        (Role.RELAY, FrameType.GRANT, 0, bytes(64)),
        (Role.CLIENT, FrameType.TOOLS, 0, encode_tools("time", [TOOL])[0]),
        *((role, kind, 0, b"") for role in Role for kind in list(FrameType)[:4]),
    ],
)
def test_a_frame_of_the_wrong_side_ends_the_link_t19(
    role: Role, kind: FrameType, stream: int, payload: bytes
) -> None:
    """T19: only the relay opens streams; no side may say what belongs to the other."""
    assert Peer(role).refused(frame(kind, stream, payload)).close_code == 1002


def test_only_the_relay_can_open_a_stream() -> None:
    with pytest.raises(MisuseError):
        Mux(Role.CLIENT, SMALL).open(OPEN, b"")


@pytest.mark.parametrize("ids", [(1, 1), (2, 1), (5, 4)])
@pytest.mark.parametrize("whole", [False, True])
def test_stream_ids_only_rise_t17(ids: tuple[int, int], whole: bool) -> None:
    """T17: a stream id that repeats or falls ends the link."""
    kind, payload = FrameType.OPEN, OPEN
    if whole:
        kind, payload = FrameType.REQUEST, codec.encode_whole(OPEN, b"")
    first, second = (frame(kind, stream, payload) for stream in ids)
    assert "opened after" in str(Peer(Role.CLIENT).refused(first, second))


@pytest.mark.parametrize("kind", [FrameType.DATA, FrameType.RESET, FrameType.CREDIT])
@pytest.mark.parametrize("role", list(Role))
def test_a_frame_on_a_stream_nobody_opened_ends_the_link_t17(role: Role, kind: FrameType) -> None:
    """T17: a stream that was never opened does not exist."""
    payload = codec.encode_reset(ResetCode.CANCELLED, "") if kind is FrameType.RESET else bytes(4)
    assert "never opened" in str(Peer(role).refused(frame(kind, 9, payload)))


def test_a_link_out_of_stream_ids_opens_no_more_and_asks_to_move_in_time_t17() -> None:
    """T17: near exhaustion the relay drains the link, long before the last id is used."""
    relay = Mux(Role.RELAY, SMALL)
    relay._streams.highest = mux.DRAIN_AT_STREAM - 1
    client = Mux(Role.CLIENT, SMALL)
    stream = relay.open(OPEN, b"")
    assert pump(relay, client) == [Draining("stream ids run out"), Opened(stream, OPEN, True)]
    relay._streams.highest = MAX_STREAM_ID
    assert relay.full
    with pytest.raises(MisuseError):
        relay.open(OPEN, b"")


def test_equal_stream_ids_on_two_links_never_meet_t24() -> None:
    """T24: a stream belongs to the link it was opened on; numbers mean nothing outside of it."""
    first, second = Pair(), Pair()
    streams = [pair.open(b"request") for pair in (first, second)]
    assert streams == [1, 1]
    for pair, body in ((first, b"for A"), (second, b"for B")):
        pair.client.send_head(1, HEAD, end=False)
        pair.client.send_data(1, body, end=True)
    assert consume(second.relay, pump(second.client, second.relay)) == b"for B"
    assert consume(first.relay, pump(first.client, first.relay)) == b"for A"


# Limits and credit -------------------------------------------------------------------------------


def test_a_message_over_its_limit_ends_the_link() -> None:
    with pytest.raises(TooBigError):
        Mux(Role.CLIENT, SMALL).receive_message(bytes(SMALL.message_bytes + 1), 0.0)


def test_a_head_over_its_limit_ends_the_link() -> None:
    oversize = frame(FrameType.OPEN, 1, bytes(MAX_HEAD_BYTES + 1))
    assert Peer(Role.CLIENT).refused(oversize).close_code == 1009


def test_a_stream_beyond_the_limit_is_refused_and_the_link_lives() -> None:
    peer = Peer(Role.CLIENT)
    opens = [frame(FrameType.OPEN, at, OPEN, FLAG_END) for at in range(1, SMALL.max_streams + 2)]
    assert len(peer.send(*opens)) == SMALL.max_streams
    refused = SMALL.max_streams + 1
    payload = codec.encode_reset(ResetCode.REFUSED, "too many streams")
    assert peer.answers() == [(FrameType.RESET, refused, payload)]
    assert peer.mux.open_streams == SMALL.max_streams


def test_the_relay_knows_when_a_link_is_full() -> None:
    relay = Mux(Role.RELAY, SMALL)
    for _ in range(SMALL.max_streams):
        assert not relay.full
        relay.open(OPEN, b"")
    assert relay.full


def test_bytes_beyond_a_streams_credit_break_the_stream_only_t21() -> None:
    """T21: the stream is reset with FLOW_CONTROL, its sibling goes on."""
    peer = Peer(Role.CLIENT)
    peer.send(frame(FrameType.OPEN, 1, OPEN), frame(FrameType.OPEN, 2, OPEN))
    events = peer.send(
        frame(FrameType.DATA, 1, bytes(SMALL.stream_window + 1)), frame(FrameType.DATA, 2, b"ok")
    )
    assert [type(event) for event in events] == [WasReset, Received]
    assert events[0] == WasReset(1, ResetCode.FLOW_CONTROL, "beyond its credit")
    assert FrameType.RESET in [kind for kind, _, _ in peer.answers()]


def test_a_peer_that_breaks_stream_after_stream_loses_the_link_t21() -> None:
    """T21: repeated, the connection is closed."""
    peer = Peer(Role.CLIENT)
    for stream in range(1, MAX_STREAM_FAULTS + 1):
        peer.send(frame(FrameType.OPEN, stream, OPEN), frame(FrameType.DATA, stream, b""))
    last = MAX_STREAM_FAULTS + 1
    peer.refused(frame(FrameType.OPEN, last, OPEN), frame(FrameType.DATA, last, b""))


def test_bytes_beyond_the_links_credit_end_the_link_t21() -> None:
    """T21: the link's own window is the last line."""
    peer = Peer(Role.CLIENT, LinkLimits(link_window=10))
    peer.send(frame(FrameType.OPEN, 1, OPEN))
    assert "allowed" in str(peer.refused(frame(FrameType.DATA, 1, bytes(11))))


@pytest.mark.parametrize("credit", [0, 2**31])
def test_credit_that_cannot_be_right_breaks_the_stream_or_the_link_t21(credit: int) -> None:
    """T21: nothing and too much are both refused."""
    peer = Peer(Role.CLIENT)
    peer.send(frame(FrameType.OPEN, 1, OPEN))
    payload = codec.encode_credit(credit)
    (event,) = peer.send(frame(FrameType.CREDIT, 1, payload))
    assert isinstance(event, WasReset)
    assert event.code is ResetCode.FLOW_CONTROL
    peer.refused(frame(FrameType.CREDIT, 0, payload))


def test_a_reader_that_takes_nothing_holds_up_only_itself_t23() -> None:
    """T23: whole or part-filled windows of stalled readers never use up the link's credit."""
    pair = Pair(LinkLimits(stream_window=4 * KIB, link_window=16 * KIB, max_streams=200))
    stalled = [pair.open() for _ in range(100)]
    for at, stream in enumerate(stalled):
        pair.client.send_head(stream, HEAD, end=False)
        # Some windows are filled to the brim, some readers stall on a whole short answer.
        size, end = ((5 * KIB, False), (3 * KIB, False), (3 * KIB, True))[at % 3]
        pair.client.send_data(stream, bytes(size), end=end)
        pair.settle()
    alive = pair.open()
    pair.client.send_head(alive, HEAD, end=False)
    pair.client.send_data(alive, b"y" * (4 * KIB), end=True)
    assert consume(pair.relay, pump(pair.client, pair.relay)) == b"y" * (4 * KIB)


def test_what_stalled_readers_hold_is_bounded_and_then_they_are_cut(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(mux, "MAX_PARKED_BYTES", 20 * KIB)
    pair = Pair(LinkLimits(stream_window=4 * KIB, link_window=16 * KIB, max_streams=200))
    cut = []
    for _ in range(20):
        stream = pair.open()
        pair.client.send_head(stream, HEAD, end=False)
        pair.client.send_data(stream, bytes(8 * KIB), end=False)
        cut += [event for event in pump(pair.client, pair.relay) if isinstance(event, WasReset)]
        pair.settle()
        assert pair.relay._parked <= 20 * KIB
    assert cut
    assert {event.code for event in cut} == {ResetCode.STALLED}


@pytest.mark.parametrize("way", ["read", "reset"])
def test_room_that_comes_back_is_used_although_the_link_is_out_of_credit(
    monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    monkeypatch.setattr(mux, "MAX_PARKED_BYTES", 16 * KIB)
    limits = LinkLimits(stream_window=4 * KIB, stream_window_max=4 * KIB, link_window=16 * KIB)
    pair = Pair(limits)
    streams = [pair.open() for _ in range(8)]
    for stream in streams:
        pair.client.send_head(stream, HEAD, end=False)
        # Below its window: a reader that is not cut when there is no room.
        pair.client.send_data(stream, bytes(4 * KIB - 100), end=False)
        pair.settle()
    assert pair.client._outbox.link.available < 4 * KIB
    for stream in [one for one in streams if pair.relay._streams._streams[one].parked]:
        if way == "read":
            pair.relay.consumed(stream, 4 * KIB - 100, 0.0)
        else:
            pair.relay.reset(stream, ResetCode.CANCELLED)
    pair.settle()
    assert pair.client._outbox.link.available > 4 * KIB


def test_what_was_set_aside_is_accounted_for_when_it_is_consumed_or_cut() -> None:
    pair = Pair(LinkLimits(stream_window=4 * KIB, link_window=8 * KIB))
    streams = [pair.open() for _ in range(4)]
    events = []
    for stream in streams:
        pair.client.send_head(stream, HEAD, end=False)
        pair.client.send_data(stream, bytes(4 * KIB), end=False)
        events += pump(pair.client, pair.relay)
        pump(pair.relay, pair.client)
    assert pair.relay._parked
    pair.relay.reset(streams[0], ResetCode.CANCELLED)
    consume(pair.relay, events)
    assert pair.relay._parked == 0


def test_a_window_grows_while_it_is_what_limits_the_stream() -> None:
    pair = Pair(LinkLimits(stream_window=4 * KIB, stream_window_max=16 * KIB))
    pair.relay.round_trip = 0.1
    stream = pair.open()
    pair.client.send_head(stream, HEAD, end=False)
    pair.client.send_data(stream, bytes(100 * KIB), end=True)
    got = 0
    while events := pump(pair.client, pair.relay):
        got += len(consume(pair.relay, events, now=0.05))
        pump(pair.relay, pair.client)
    assert got == 100 * KIB
    assert pair.open_streams == (0, 0)


# How streams end ---------------------------------------------------------------------------------


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


# Numbers and acknowledgements --------------------------------------------------------------------


def test_messages_are_numbered_by_the_frames_sent_before_them() -> None:
    pair = Pair()
    pair.relay.open(OPEN, b"request")
    pair.relay.ping(PING)
    pair.relay.open(OPEN, b"")
    (first,) = take_all(pair.relay)
    pair.relay.open(OPEN, b"")
    (second,) = take_all(pair.relay)
    assert decode_message_header(first) == (0, 0)
    # OPEN, DATA and OPEN; the PING is not counted.
    assert decode_message_header(second) == (3, 0)


@pytest.mark.parametrize("at", [0, 1])
def test_a_message_lost_or_delivered_twice_ends_the_link(at: int) -> None:
    pair = Pair()
    messages = []
    for _ in range(2):
        pair.relay.open(OPEN, b"")
        messages += take_all(pair.relay)
    delivered = [messages[0], messages[0]] if at else [messages[1]]
    for message in delivered[:-1]:
        pair.client.receive_message(message, 0.0)
    with pytest.raises(PeerError, match="was due"):
        pair.client.receive_message(delivered[-1], 0.0)


@pytest.mark.parametrize("ack", [1, 2**64 - 1])
def test_an_acknowledgement_of_what_was_never_sent_ends_the_link(ack: int) -> None:
    with pytest.raises(PeerError, match="never sent"):
        Mux(Role.RELAY, SMALL).receive_message(encode_message(0, ack, b""), 0.0)


def test_acknowledgements_never_go_back() -> None:
    relay = Mux(Role.RELAY, SMALL)
    relay.open(OPEN, b"")
    take_all(relay)
    relay.receive_message(encode_message(0, 1, b""), 0.0)
    with pytest.raises(PeerError):
        relay.receive_message(encode_message(0, 0, b""), 0.0)


def test_who_has_nothing_to_say_still_acknowledges_now_and_then() -> None:
    pair = Pair(LinkLimits())
    silent: list[bytes] = []
    for _ in range(ACK_EVERY):
        assert silent == []
        pair.client.catalog(["time"])
        pump(pair.client, pair.relay)
        silent = take_all(pair.relay)
    assert silent == [encode_message(0, ACK_EVERY, b"")]
    assert pair.client.receive_message(silent[0], 0.0) == []
    assert pair.client.sequence._acked == ACK_EVERY


# Floods ------------------------------------------------------------------------------------------


def test_a_flood_of_pings_ends_the_link_t28() -> None:
    """T28: what we must answer is capped per interval; slower pings are answered for ever."""
    peer = Peer(Role.CLIENT)
    for at in range(100):
        peer.send(frame(FrameType.PING, 0, PING), now=at * 2.0)
    peer.answers()
    with pytest.raises(PeerError, match="too many PINGs"):
        peer.send(*[frame(FrameType.PING, 0, PING)] * 11, now=1000.0)


@pytest.mark.parametrize("kind", [FrameType.PING, FrameType.PONG])
@pytest.mark.parametrize("size", [0, 7, 9])
def test_a_ping_has_eight_bytes(kind: FrameType, size: int) -> None:
    Peer(Role.CLIENT).refused(frame(kind, 0, bytes(size)))


def test_a_peer_that_reads_nothing_of_what_it_makes_us_answer_loses_the_link(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(mux, "MAX_WAITING_BYTES", 4 * KIB)
    peer = Peer(Role.CLIENT)
    stream = 0
    while peer.mux._outbox.ready_bytes <= 4 * KIB:
        stream += 1
        peer.send(frame(FrameType.OPEN, stream, OPEN, FLAG_END))
    peer.refused(frame(FrameType.OPEN, stream + 1, OPEN, FLAG_END))
    assert len(b"".join(take_all(peer.mux))) < 8 * KIB


def test_a_relay_opens_nothing_while_too_much_waits_to_be_sent(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(mux, "MAX_WAITING_BYTES", 4 * KIB)
    relay = Mux(Role.RELAY, LinkLimits())
    while not relay.full:
        relay.open(OPEN, b"")
    assert relay.open_streams < 100
    take_all(relay)
    assert not relay.full


def test_a_request_that_is_begun_keeps_its_number_and_its_body_follows_later() -> None:
    pair = Pair()
    first = pair.relay.open(OPEN, b"", more=True)
    second = pair.relay.request(OPEN, b"read")
    assert second == first + 1
    assert pump(pair.relay, pair.client) == [
        Opened(first, OPEN, False),
        Requested(second, OPEN, b"read"),
    ]
    pair.relay.send_data(first, b"write", end=True)
    assert pump(pair.relay, pair.client) == [Received(first, b"write", True)]
