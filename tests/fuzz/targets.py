"""One function per decoder: any bytes in, nothing but the documented error out.

`PeerError` and its kin, and `EnvelopeError`, are what a decoder may raise; a target swallows them,
and whatever comes out of it is a finding. For smoke tests with hypothesis and by hand with atheris.
"""

import contextlib
import random
from collections.abc import Callable

from shared import grant
from shared.errors import PeerError, ResetCode
from shared.jsonrpc import envelope
from shared.policy.classes import ToolClass
from shared.wire import codec, handshake
from shared.wire.codec import OpenHead
from shared.wire.events import Received, Requested, Responded
from shared.wire.frames import (
    MESSAGE_HEADER,
    FrameType,
    decode_frames,
    decode_message_header,
    encode_frame,
)
from shared.wire.limits import KIB, LinkLimits
from shared.wire.mux import Mux, Role
from shared.wire.tools import PinState, ToolWord, decode_tools, encode_tools
from tests.shared.wire import golden

GRANT_DOMAIN = b"mcp-tunnel grant v1\n"
RELAY_KEY = golden.RELAY_KEY
Target = Callable[[bytes], None]
MAX_CHANGES = 20
"""Changes made to one conversation."""

LIMITS = LinkLimits(
    message_bytes=256 * KIB, stream_window=4 * KIB, link_window=16 * KIB, max_streams=16
)
SESSION = "0123456789abcdef" * 2
OPEN = codec.encode_open(OpenHead("time", "POST", SESSION, "", [(b"accept", b"*/*")]))
TOOLS = [
    ToolWord("now", ToolClass.READ, "ab" * 32, PinState.PINNED, "Time", '{"name":"now"}'),
    ToolWord("set", None, "cd" * 32, PinState.NEW),
]
HEAD = codec.encode_head(200, [(b"content-type", b"text/plain")])


def _decoder(decode: Callable[[bytes], object]) -> Target:
    def target(data: bytes) -> None:
        with contextlib.suppress(PeerError):
            decode(data)

    return target


def _frames(data: bytes) -> None:
    """The frames of a message: payloads are slices of what came, and all of it."""
    message = bytes(MESSAGE_HEADER.size) + data
    with contextlib.suppress(PeerError):
        frames = list(decode_frames(message))
        rebuilt = b"".join(
            encode_frame(kind, stream, payload, flags) for kind, flags, stream, payload in frames
        )
        assert rebuilt == data


def _ready(data: bytes) -> None:
    """READY after its signature held: limits are checked even then."""
    with contextlib.suppress(PeerError):
        handshake.decode_ready(data, b"h", b"c", b"p", bytes(32), lambda *_: True)


def _grant(data: bytes) -> None:
    """A grant whose signature held: a relay that signs nonsense gets the documented error too."""
    with contextlib.suppress(PeerError):
        made = grant.decode(RELAY_KEY.sign(GRANT_DOMAIN + data) + data, RELAY_KEY.public)
        assert grant.encode(made, RELAY_KEY)[64:] == data


def conversation(role: Role) -> list[bytes]:
    """Return what the peer of `role` says in an honest conversation, message by message.

    Nothing is acknowledged: who replays it has not sent what the answers are to.
    """
    relay, client = Mux(Role.RELAY, LIMITS), Mux(Role.CLIENT, LIMITS)
    said: dict[Role, list[bytes]] = {Role.RELAY: [], Role.CLIENT: []}

    def exchange() -> None:
        for speaker, source, target in (
            (Role.RELAY, relay, client),
            (Role.CLIENT, client, relay),
        ):
            while message := source.take_message([]):
                said[speaker].append(message)
                for event in target.receive_message(message, 0.0):
                    if isinstance(event, Received):
                        target.consumed(event.stream, len(event.data), 0.0)

    client.catalog(["git", "time"])
    client.tools("time", TOOLS)
    relay.grant(bytes(64) + b"{}")
    for stream in (1, 2, 3, 4):
        relay.open(OPEN, b"request" * stream * 400)
        exchange()
    for stream in (1, 2):
        client.send_head(stream, HEAD, end=False)
        client.send_data(stream, b"response" * 1000, end=stream == 2)
        exchange()
    client.send_head(3, HEAD, end=True)
    relay.reset(4, ResetCode.CANCELLED, "the agent left")
    client.respond(relay.request(OPEN, b"small") - 1, HEAD, b"late")
    exchange()
    client.respond(5, HEAD, b"small")
    relay.ping(b"8 bytes.")
    relay.revoke(1, SESSION)
    exchange()
    client.revoked(1, 2)
    client.send_data(1, b"the end", end=True)
    relay.drain("moving")
    exchange()
    exchange()
    messages = said[Role.CLIENT if role is Role.RELAY else Role.RELAY]
    return [message[:8] + bytes(8) + message[16:] for message in messages]


_CONVERSATIONS = {role: conversation(role) for role in Role}


def mux_of(role: Role) -> Mux:
    """Return a mux that waits for its part of the conversation."""
    mux = Mux(role, LIMITS)
    if role is Role.RELAY:
        # What the peer answers, this end has asked.
        for _ in range(4):
            mux.open(OPEN, b"")
        mux.request(OPEN, b"small")
        while mux.take_message([]):
            pass
    return mux


def _mux(role: Role) -> Target:
    messages = _CONVERSATIONS[role]

    def target(data: bytes) -> None:
        """Say an honest conversation with changes; `data` says which bytes change and how."""
        mux = mux_of(role)
        choose = random.Random(data)
        ended: set[int] = set()
        with contextlib.suppress(PeerError):
            for message in mutated(messages, data, choose):
                _receive(mux, message, ended)
        assert mux._parked >= 0
        assert sum(one.unconsumed for one in mux._streams._streams.values()) <= 80 * KIB

    return target


def _receive(mux: Mux, message: bytes, ended: set[int]) -> None:
    for event in mux.receive_message(message, 0.0):
        if isinstance(event, Received):
            assert event.stream not in ended
            mux.consumed(event.stream, len(event.data), 0.0)
        if isinstance(event, Received) and event.end:
            ended.add(event.stream)
        if isinstance(event, Requested | Responded):
            assert event.stream not in ended
            ended.add(event.stream)
    while mux.take_message([]):
        pass


def mutated(messages: list[bytes], data: bytes, choose: random.Random) -> list[bytes]:
    """Return a conversation with bytes flipped, messages moved, repeated or cut; else honest.

    Half of the time sequence numbers are made right again: frames behind a change are heard too.
    """
    changed = [bytearray(message) for message in messages]
    for at in range(0, min(len(data), MAX_CHANGES * 3) - 2, 3):
        one = changed[data[at] % len(changed)]
        place = (data[at + 1] << 8 | data[at + 2]) % len(one)
        match data[at] >> 5:
            case 0 | 1 | 2:
                one[place] ^= 1 << choose.randrange(8)
            case 3:
                del one[place:]
            case 4:
                one[place:place] = bytes(choose.randbytes(choose.randrange(40)))
            case 5:
                one += choose.choice(changed)[16:]
            case 6:
                choose.shuffle(changed)
            case _:
                changed.insert(place % len(changed), bytearray(choose.choice(changed)))
        changed = [message for message in changed if message] or [bytearray(16)]
    if choose.random() < 0.5:
        _renumber(changed)
    return [bytes(message) for message in changed]


def _renumber(messages: list[bytearray]) -> None:
    sequence = 0
    for message in messages:
        if len(message) >= MESSAGE_HEADER.size:
            MESSAGE_HEADER.pack_into(message, 0, sequence, 0)
        with contextlib.suppress(PeerError):
            for kind, *_ in decode_frames(bytes(message)):
                sequence += kind not in (FrameType.PING, FrameType.PONG)


def _envelope(data: bytes) -> None:
    with contextlib.suppress(envelope.EnvelopeError):
        envelope.parse(data)


TARGETS: dict[str, Target] = {
    "frames": _frames,
    "message": _decoder(decode_message_header),
    "open": _decoder(codec.decode_open),
    "head": _decoder(codec.decode_head),
    "whole": _decoder(codec.decode_whole),
    "reset": _decoder(codec.decode_reset),
    "detail": _decoder(codec.decode_detail),
    "credit": _decoder(codec.decode_credit),
    "catalog": _decoder(codec.decode_catalog),
    "revoke": _decoder(codec.decode_revoke),
    "revoked": _decoder(codec.decode_revoked),
    "tools": _decoder(decode_tools),
    "grant": _grant,
    "hello": _decoder(handshake.decode_hello),
    "challenge": _decoder(handshake.decode_challenge),
    "ready": _ready,
    "mux-relay": _mux(Role.RELAY),
    "mux-client": _mux(Role.CLIENT),
    "envelope": _envelope,
}

HELLO = handshake.encode(
    handshake.Hello(
        *("office", "0" * 32, 7, "wss://relay.example", [1], [], 1, "test/1"), process="0" * 32
    )
)
CHALLENGE = handshake.encode(handshake.Challenge(1, [], "A" * 43, "ab" * 32, 1))
READY = handshake.encode_ready(b"h", b"c", b"p", LIMITS, lambda _: bytes(64))
CALL = (
    b'{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{"name":"read","arguments":'
    b'{"path":"/x","list":[1,2.5,null,true]},"_meta":{"progressToken":"t"}}}'
)
SEEDS: dict[str, list[bytes]] = {
    "frames": [message[16:400] for said in _CONVERSATIONS.values() for message in said[:3]],
    "message": [_CONVERSATIONS[Role.RELAY][0]],
    "open": [OPEN],
    "head": [HEAD],
    "whole": [codec.encode_whole(OPEN, b"body")],
    "reset": [codec.encode_reset(ResetCode.TIMEOUT, "too late")],
    "detail": [b"moving"],
    "credit": [codec.encode_credit(4096)],
    "catalog": [codec.encode_catalog(["git", "time"])],
    "revoke": [codec.encode_revoke(1, SESSION)],
    "revoked": [codec.encode_revoked(1, 2)],
    "tools": encode_tools("time", TOOLS),
    "grant": [golden.PAYLOADS[FrameType.GRANT][2][64:]],
    "hello": [HELLO],
    "challenge": [CHALLENGE],
    "ready": [READY],
    "mux-relay": [b""],
    "mux-client": [b""],
    "envelope": [CALL],
}
"""What a target accepts whole: mutations of it reach further than noise does."""


def check(target: str, data: bytes) -> None:
    """Run one target on one input."""
    TARGETS[target](data)
