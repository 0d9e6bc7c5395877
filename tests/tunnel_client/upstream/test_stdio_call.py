from shared.errors import ResetCode
from tests.helpers.upstream_peer import KeptReply
from tunnel_client.upstream.stdio_call import LegacyStream
from tunnel_client.upstream.stdio_events import EventLog


class Gate:
    def __init__(self) -> None:
        self.told: list[str] = []

    def stalled(self, stream: LegacyStream) -> None:
        self.told.append("stalled")

    def released(self, stream: LegacyStream) -> None:
        self.told.append("released")

    def left(self, stream: LegacyStream) -> None:
        self.told.append("left")


def made(primed: bool = False) -> tuple[Gate, KeptReply, EventLog, LegacyStream]:
    gate, reply, log = Gate(), KeptReply(), EventLog()
    lane = log.new_lane()
    stream = LegacyStream(gate, reply, [(b"x", b"y")], log, lane=lane, key=1, primed=primed)
    return gate, reply, log, stream


def test_messages_carry_ids_and_the_first_event_may_be_empty() -> None:
    _, reply, _, stream = made(primed=True)
    stream.begin()
    stream.message(b'{"n":1}')
    stream.message(b'{"n":2}', end=True)
    assert reply.headers[b"x"] == b"y"
    assert reply.event_ids == ["1-0", "1-1", "1-2"]
    assert reply.messages == [{"n": 1}, {"n": 2}]
    assert reply.ended


def test_what_comes_after_the_agent_left_is_kept_for_later() -> None:
    gate, reply, log, stream = made()
    stream.begin()
    stream.cancel()
    stream.cancel()
    stream.message(b'{"n":1}', end=True)
    assert reply.body == b""
    assert gate.told.count("left") == 1
    found = log.after("1-0")
    assert found is not None
    assert len(found[1]) == 1


def test_a_full_reply_stalls_the_gate_until_it_is_read() -> None:
    gate, reply, _, stream = made()
    reply.ready = False
    stream.message(b'{"n":1}')
    assert gate.told == ["stalled"]
    stream.resume()
    assert gate.told == ["stalled", "released"]


def test_a_stream_that_failed_releases_the_gate_and_says_no_more() -> None:
    gate, reply, _, stream = made()
    stream.fail(ResetCode.REVOKED, "over")
    stream.message(b'{"n":1}')
    stream.end()
    assert reply.failed is ResetCode.REVOKED
    assert reply.body == b""
    assert gate.told == ["released"]
