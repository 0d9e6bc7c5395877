"""What one link end gives its peer: limits, credit, room for stalled readers, and no more."""

import pytest

from shared.errors import PeerError, ResetCode, TooBigError
from shared.wire import codec, mux
from shared.wire.events import Received, WasReset
from shared.wire.frames import FLAG_END, FrameType
from shared.wire.limits import KIB, MAX_HEAD_BYTES, LinkLimits
from shared.wire.mux import Mux, Role
from shared.wire.streams import MAX_STREAM_FAULTS
from tests.shared.wire.pair import (
    HEAD,
    OPEN,
    PING,
    SMALL,
    Pair,
    Peer,
    consume,
    frame,
    pump,
    take_all,
)

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
