"""One link end after the handshake: whole exchanges, who may say what, and how it is numbered."""

import pytest

from shared.errors import MisuseError, PeerError, ResetCode
from shared.wire import codec, mux
from shared.wire.events import (
    Catalogued,
    Draining,
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
)
from shared.wire.frames import FrameType, decode_message_header, encode_message
from shared.wire.limits import KIB, MAX_GRANT_BYTES, MAX_INLINE_BYTES, MAX_STREAM_ID, LinkLimits
from shared.wire.mux import Mux, Role
from shared.wire.sequence import ACK_EVERY
from shared.wire.tools import encode_tools
from tests.shared.wire.golden import TOOL
from tests.shared.wire.pair import (
    HEAD,
    OPEN,
    PING,
    SESSION,
    SMALL,
    Pair,
    Peer,
    consume,
    frame,
    pump,
    take_all,
)

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


def test_a_ping_before_its_time_is_noticed() -> None:
    pair = Pair(LinkLimits(ping_interval=10.0))
    for now, hurried in ((100.0, 0.0), (110.0, 0.0), (120.0, 0.0), (125.0, 125.0), (135.0, 125.0)):
        pair.relay.ping(PING)
        pump(pair.relay, pair.client, now)
        assert pair.client.hurried_at == hurried


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
