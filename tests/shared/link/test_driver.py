"""A link over real sockets: batches, lost peers, resets, and tables that end up empty."""

import asyncio
import socket
import ssl
from functools import partial
from pathlib import Path

import pytest

from shared.errors import CloseCode, ResetCode
from shared.link.owner import StreamHandler
from shared.wire.frames import FrameType, decode_frames, encode_frame, encode_message
from shared.wire.limits import KIB, MIB, LinkLimits
from tests.helpers.tls import Authority
from tests.shared.link.ends import Drivers, Lane, Owner, link, spy, until
from tests.shared.wire.golden import TOOL

SESSION = "0123456789abcdef" * 2
KEEPALIVE = {FrameType.PING, FrameType.PONG}
HASTY = LinkLimits(ping_interval=0.02, ping_deadline=0.02, resume_seconds=0)


def answer_whole(owner: Owner, stream: int, head: bytes, end: bool) -> Lane | None:
    """Answer inside `on_open`, as a gate that refuses does."""
    lane = owner.lane(stream)
    if stream % 2:
        owner.driver.respond(stream, b"200", b"answer")
    else:
        owner.driver.head(stream, b"200", end=False)
        owner.driver.data(stream, b"answer", end=True)
    return lane


async def call(ends: Drivers, body: bytes = b"request") -> Lane:
    """Open a stream and wait until the client has the whole request."""
    lane = ends.relay.open(body=body)
    await until(lambda: lane.id in ends.client.lanes and ends.client.lanes[lane.id].body == body)
    return lane


async def measured(ends: Drivers) -> None:
    """Wait until both ends have asked and answered their first ping."""
    await until(lambda: ends.relay.driver.round_trip and ends.client.driver.round_trip)


async def test_a_call_crosses_a_real_socket() -> None:
    async with link() as ends:
        lane = await call(ends)
        ends.client.driver.head(lane.id, b"200", end=False)
        ends.client.driver.data(lane.id, b"response", end=True)
        await until(lambda: lane.ended)
        assert (lane.head, bytes(lane.body)) == (b"200", b"response")
        await until(lambda: not ends.client.driver.open_streams)
        assert ends.relay.driver.open_streams == 0


async def test_a_small_call_is_one_frame_each_way() -> None:
    async with link() as ends:
        await measured(ends)
        there, back = spy(ends.sockets.client), spy(ends.sockets.server)
        lane = ends.relay.request(body=b"request")
        await until(lambda: lane.id in ends.client.lanes)
        assert ends.client.lanes[lane.id].body == b"request"
        ends.client.driver.respond(lane.id, b"200", b"response")
        await until(lambda: lane.ended)
        assert (lane.head, bytes(lane.body)) == (b"200", b"response")
        kinds = [
            [frame[0] for message in seen for frame in decode_frames(message)]
            for seen in (there, back)
        ]
        # A machine that is slow pings in between.
        kept = [[kind for kind in each if kind not in KEEPALIVE] for each in kinds]
        assert kept == [[FrameType.REQUEST], [FrameType.RESPONSE]]
        assert ends.relay.driver._streams == ends.client.driver._streams == {}


async def test_a_large_answer_crosses_tls(tmp_path: Path) -> None:
    authority = Authority()
    trust = ssl.create_default_context(cafile=str(authority.write(tmp_path / "ca.pem")))
    async with link(server_tls=authority.server("localhost"), client_tls=trust) as ends:
        lane = await call(ends)
        content = bytes(range(256)) * (12 * KIB)
        ends.client.driver.head(lane.id, b"200", end=False)
        ends.client.driver.data(lane.id, content, end=True)
        await until(lambda: lane.ended or lane.resets)
        assert bytes(lane.body) == content


async def test_what_is_queued_in_one_turn_is_one_message() -> None:
    async with link() as ends:
        await measured(ends)
        messages = spy(ends.sockets.client)
        for _ in range(50):
            ends.relay.open(body=b"request")
        await until(lambda: len(ends.client.lanes) == 50)
        # Besides, the link may have something of its own to say: an ACK, a PING.
        ours = [[kind for kind, _, stream, _ in decode_frames(each) if stream] for each in messages]
        assert [len(each) for each in ours if each] == [100]


async def test_an_act_that_breaks_keeps_neither_the_others_of_its_turn_nor_the_link() -> None:
    broken: list[BaseException] = []
    asyncio.get_running_loop().set_exception_handler(
        lambda _loop, context: broken.append(context["exception"])
    )
    async with link() as ends:
        acts: list[int] = []

        def act(number: int) -> None:
            acts.append(number)
            if number == 1:
                raise OSError("no descriptor is left")

        for number in range(3):
            ends.relay.driver.at_turn_end(partial(act, number))
        lane = await call(ends)
        assert acts == [0, 1, 2]
        assert [str(each) for each in broken] == ["no descriptor is left"]
        ends.relay.driver.at_turn_end(partial(act, 3))
        await until(lambda: acts[-1] == 3)
        ends.client.driver.respond(lane.id, b"200", b"answer")
        await until(lambda: lane.ended)


async def test_facts_of_the_link_reach_its_owner() -> None:
    async with link() as ends:
        ends.relay.driver.drain("moving")
        ends.relay.driver.revoke(7, SESSION)
        ends.client.driver.catalog(["git", "time"])
        ends.client.driver.revoked(7, 3)
        ends.relay.driver.grant(b"grant")
        ends.client.driver.tools("time", [TOOL])
        await until(lambda: len(ends.relay.facts) == len(ends.client.facts) == 3)
        assert ends.client.facts == ["moving", (7, SESSION), b"grant"]
        assert ends.relay.facts == [["git", "time"], (7, 3), ("time", [TOOL])]


# Peers that are gone ---------------------------------------------------------------------------


@pytest.mark.parametrize("silent", ["relay", "client"])
async def test_a_peer_that_answers_no_ping_is_given_up_by_either_side_t28(silent: str) -> None:
    """T28: a connection that stays open and says nothing is found out by both ends."""
    async with link(HASTY) as ends:
        driver = (ends.relay if silent == "relay" else ends.client).driver
        alive = ends.client if silent == "relay" else ends.relay
        recorder = ends.sockets.record(server=silent == "relay")
        driver._timer.cancel()
        await until(lambda: alive.lost)
        ((code, why),) = alive.lost
        assert code == 1006
        assert why.startswith("the peer did not answer a ping for ")
        assert any(
            kind is FrameType.PING for m in recorder.messages for kind, *_ in decode_frames(m)
        )
        await until(lambda: recorder.lost)
        assert recorder.lost[0][0] == 1006


async def test_a_peer_that_answers_pings_is_kept_and_its_distance_known() -> None:
    limits = LinkLimits(ping_interval=0.02, ping_deadline=10.0)
    async with link(limits) as ends:
        await until(lambda: ends.relay.driver.round_trip and ends.client.driver.round_trip)
        assert not ends.relay.lost
        assert not ends.client.lost


async def test_a_cut_tells_every_stream_once_and_then_the_owner() -> None:
    async with link() as ends:
        lanes = [await call(ends) for _ in range(20)]
        ends.sockets.client.abort()
        await until(lambda: ends.relay.lost and ends.client.lost)
        for lane in [*lanes, *ends.client.lanes.values()]:
            assert lane.resets == [(ResetCode.UPSTREAM_BROKE, "the link was lost")]
        ends.sockets.server.connection_lost(None)
        ends.relay.driver.transport_lost(1006, "again")
        assert len(ends.relay.lost) == len(ends.client.lost) == 1
        assert ends.relay.driver.lost
        assert ends.relay.driver.full


@pytest.mark.parametrize("code", [CloseCode.REVOKED, CloseCode.REPLACED, CloseCode.GOING_AWAY])
async def test_why_a_link_is_closed_reaches_the_other_side(code: CloseCode) -> None:
    async with link() as ends:
        lane = ends.relay.open()
        ends.relay.driver.close(code, "said to people")
        assert lane.resets
        assert ends.relay.lost == [(code, "said to people")]
        await until(lambda: ends.client.lost)
        assert ends.client.lost == [(code, "said to people")]
        # What was queued before the close still arrived.
        assert lane.id in ends.client.lanes


@pytest.mark.parametrize(
    ("frames", "code"),
    [
        (b"\x7f\0\0\0\0\0\0\0", 1002),
        (encode_frame(FrameType.PING, 0, b"8 bytes.", flags=0x80), 1002),
        (encode_frame(FrameType.PING, 0, b"8 bytes.")[:-1], 1002),
        (b"\x12\0\xff\xff\0\0\0\x01" + bytes(65535), 1009),
    ],
    ids=["unknown type", "reserved flag", "cut short", "long frame"],
)
async def test_a_frame_nobody_may_send_closes_the_link_t12(frames: bytes, code: int) -> None:
    """T12, T13: unknown types, reserved flags and wrong lengths."""
    async with link() as ends:
        ends.sockets.client.send(encode_message(0, 0, frames))
        await until(lambda: ends.relay.lost and ends.client.lost)
        assert ends.relay.lost[0][0] == ends.client.lost[0][0] == code


async def test_nothing_is_reported_after_the_link_is_lost() -> None:
    async with link() as ends:

        def close_at_once(owner: Owner, _stream: int, _head: bytes, _end: bool) -> None:
            owner.driver.close(CloseCode.GOING_AWAY, "enough")

        ends.client.serve = close_at_once
        ends.relay.open()
        ends.relay.driver.drain("too late")
        ends.relay.open()
        await until(lambda: ends.relay.lost)
        assert (ends.client.facts, ends.client.lanes) == ([], {})


# Streams ---------------------------------------------------------------------------------------


async def test_a_reset_reaches_the_other_sides_handler_and_nothing_follows() -> None:
    async with link() as ends:
        lane = await call(ends)
        ends.relay.driver.reset(lane.id, ResetCode.CANCELLED, "the agent left")
        ends.client.driver.head(lane.id, b"200", end=False)
        ends.client.driver.data(lane.id, b"late", end=False)
        served = ends.client.lanes[lane.id]
        await until(lambda: served.resets)
        assert served.resets == [(ResetCode.CANCELLED, "the agent left")]
        assert lane.head is None
        assert not lane.resets
        assert ends.relay.driver.open_streams == ends.client.driver.open_streams == 0


async def test_an_answer_to_a_stream_that_was_cut_is_told_once_and_handed_to_nobody() -> None:
    """S09: the client had answered before it heard of the cut."""
    async with link() as ends:
        whole, long = await call(ends), await call(ends)
        other = await call(ends)
        for lane, whose in ((whole, "one"), (long, "two")):
            ends.relay.driver.cut(lane.id, ResetCode.REVOKED, whose)
        ends.relay.driver.reset(other.id, ResetCode.CANCELLED)
        ends.client.driver.respond(whole.id, b"200", b"late result")
        ends.client.driver.respond(other.id, b"200", b"nobody asks")
        ends.client.driver.head(long.id, b"200", end=False)
        ends.client.driver.data(long.id, b"late", end=True)
        await until(lambda: len(ends.relay.facts) == 2)
        assert ends.relay.facts == [("one", b"late result"), ("two", b"")]
        assert [lane.body for lane in (whole, long, other)] == [b"", b"", b""]
        assert not any(lane.head for lane in (whole, long, other))
        assert ends.relay.driver.open_streams == 0


async def test_a_stream_nobody_serves_is_refused() -> None:
    async with link(serve=lambda *_: None) as ends:
        lane = ends.relay.open(body=b"request")
        await until(lambda: lane.resets)
        assert lane.resets[0][0] is ResetCode.REFUSED
        assert ends.client.driver.open_streams == 0


async def test_a_refusal_may_say_why() -> None:
    def refuse(owner: Owner, stream: int, _head: bytes, _end: bool) -> None:
        owner.driver.reset(stream, ResetCode.UPSTREAM_UNREACHABLE, "nobody listens")

    async with link(serve=refuse) as ends:
        lane = ends.relay.open()
        await until(lambda: lane.resets)
        assert lane.resets == [(ResetCode.UPSTREAM_UNREACHABLE, "nobody listens")]


async def test_an_answer_given_at_once_leaves_nothing_behind() -> None:
    async with link(serve=answer_whole) as ends:
        lanes = [ends.relay.open() for _ in range(10)]
        await until(lambda: all(lane.ended for lane in lanes))
        assert ends.client.driver._streams == {}
        ends.sockets.client.abort()
        await until(lambda: ends.client.lost)
        assert not any(lane.resets for lane in ends.client.lanes.values())


async def test_two_thousand_streams_leave_empty_tables() -> None:
    def serve(owner: Owner, stream: int, head: bytes, end: bool) -> StreamHandler | None:
        if head == b"answer":
            return answer_whole(owner, stream, head, end)
        if head == b"refuse":
            return None
        return owner.lane(stream)

    async with link(serve=serve) as ends:
        for turn in range(20):
            begin = (ends.relay.open, ends.relay.request)[turn // 2 % 2]
            heads = (b"answer", b"refuse", b"cancel")
            lanes = [begin(heads[at % 3], b"x" * 500) for at in range(100)]
            cancelled = [lane for at, lane in enumerate(lanes) if at % 3 == 2]
            await until(lambda last=cancelled[-1].id: last in ends.client.lanes)  # type: ignore[misc]
            for lane in cancelled:
                side = (ends.relay, ends.client)[turn % 2]
                side.driver.reset(lane.id, ResetCode.CANCELLED)
            await until(lambda: not ends.relay.driver.open_streams)
        await until(lambda: not ends.client.driver.open_streams)
        for owner in (ends.relay, ends.client):
            assert owner.driver._streams == {}
            assert owner.driver._mux._parked == 0
        assert ends.relay.driver._mux._outbox.link.available > 8 * MIB


async def test_a_stalled_reader_pauses_its_sender_and_resumes_it() -> None:
    async with link() as ends:
        lane = await call(ends)
        lane.stalled = True
        driver, served = ends.client.driver, ends.client.lanes[lane.id]
        driver.head(lane.id, b"200", end=False)
        assert not driver.data(lane.id, bytes(MIB), end=False)
        await until(lambda: len(lane.body) == 256 * KIB)
        assert served.writable == 0
        lane.stalled = False
        ends.relay.driver.consumed(lane.id, len(lane.body))
        await until(lambda: served.writable)
        assert driver.data(lane.id, b"", end=True)
        await until(lambda: lane.ended)


def shrink(*transports: object) -> None:
    """Make kernel buffers small, so that a slow reader is felt at once."""
    for transport in transports:
        sock: socket.socket = transport._transport.get_extra_info("socket")  # type: ignore[attr-defined]
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 16 * KIB)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16 * KIB)


async def test_a_slow_connection_holds_bytes_back_and_control_frames_overtake_them() -> None:
    limits = LinkLimits(stream_window=4 * MIB)
    async with link(limits) as ends:
        shrink(ends.sockets.client, ends.sockets.server)
        lanes = [await call(ends) for _ in range(3)]
        reading = ends.sockets.server._transport
        assert reading is not None
        reading.pause_reading()
        driver = ends.client.driver
        for lane in lanes:
            driver.head(lane.id, b"200", end=False)
            driver.data(lane.id, bytes(4 * MIB), end=True)
        await until(lambda: not ends.sockets.client.writable)
        assert driver.open_streams == 3
        driver.catalog(["time"])
        reading.resume_reading()
        await until(lambda: ends.relay.facts)
        assert not any(lane.ended for lane in lanes)
        await until(lambda: all(lane.ended for lane in lanes))
        assert all(len(lane.body) == 4 * MIB for lane in lanes)
