"""Runs the handshake of `shared.wire.handshake` over a transport, one side each.

Security steps, in order; the caller owes the deadline (10 s for dialling and handshake together):

1. the client says which tunnel, instance and relay origin it means, and its counter;
2. the relay refuses an origin that is not its own (a relay in the middle signs for another one);
3. the relay answers with its key and a nonce, whether it knows the instance or not;
4. the client refuses a key that is not the one pinned at enrolment, and choices it did not offer;
5. the client signs both messages; the relay checks with the key stored at enrolment;
6. the relay admits the counter (a counter behind means a copied state directory);
7. the relay signs everything; the client checks before it believes a limit.
"""

import secrets
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import NamedTuple

from shared.errors import AuthError, NotSpokenError, PeerError
from shared.keys import BadKeyError, PrivateKey, decode_public, encode_public, verify
from shared.link.inbox import Inbox
from shared.link.transport import MessageTransport
from shared.version import WIRE_VERSION
from shared.wire.frames import FrameType, decode_frames, encode_frame, encode_message
from shared.wire.handshake import (
    Challenge,
    Hello,
    check_choice,
    choose,
    client_transcript,
    decode_challenge,
    decode_hello,
    decode_ready,
    encode,
    encode_ready,
    link_id,
)
from shared.wire.limits import MAX_HANDSHAKE_BYTES, MESSAGE_HEADER_BYTES, LinkLimits

VERSIONS = frozenset({WIRE_VERSION})
LINKS = "links"
"""The relay keeps several links of a client's process beside each other."""
FEATURES: frozenset[str] = frozenset({LINKS})
"""Optional abilities of this build; what only one side has is left out of the link."""
MAX_MESSAGE = MESSAGE_HEADER_BYTES + MAX_HANDSHAKE_BYTES + 256
"""Bytes of the longest message of a handshake: so much a peer may have us hold without a key."""


class WrongRelayError(AuthError):
    """The relay is not the one this client enrolled with."""


class Agreed(NamedTuple):
    """What a client knows of a link whose handshake is over; `link` is its name in records.

    `taken`: the link that HELLO names goes on, and the relay took this many of its frames.
    """

    limits: LinkLimits
    link: str
    taken: int | None


def send_frame(transport: MessageTransport, kind: FrameType, payload: bytes) -> None:
    """Send one handshake frame as a message of its own."""
    transport.send(encode_message(0, 0, encode_frame(kind, 0, payload)))


async def receive_frame(inbox: Inbox, due: FrameType) -> bytes:
    """Return the payload of the handshake frame that is due; raises AuthError for another one."""
    return _payload(await inbox.receive(), due, AuthError)


def _payload(message: bytes, due: FrameType, refused: type[PeerError]) -> bytes:
    if len(message) > MAX_MESSAGE:
        raise refused("handshake message over its limit")
    frames = list(decode_frames(message))
    if len(frames) != 1 or frames[0][0] is not due:
        raise refused(f"{due.name} was due")
    return frames[0][3]


async def prove(
    transport: MessageTransport, inbox: Inbox, hello: Hello, key: PrivateKey, relay_key: bytes
) -> Agreed:
    """Run the client's side as `Proving` does; returns what was agreed, raises the same."""
    proving = Proving(transport, inbox, hello, key, relay_key)
    await proving.challenged()
    return await proving.ready()


class Proving:
    """The client's side (steps 1, 4, 5, 7) in its two waits; HELLO leaves when it is made.

    The relay takes the counter of HELLO for used only with the proof, which `ready` sends.
    """

    def __init__(
        self,
        transport: MessageTransport,
        inbox: Inbox,
        hello: Hello,
        key: PrivateKey,
        relay_key: bytes,
    ) -> None:
        self._transport, self._inbox, self._hello = transport, inbox, hello
        self._key, self._relay_key = key, relay_key
        self._hello_payload = encode(hello)
        self._challenge_payload = b""
        send_frame(transport, FrameType.HELLO, self._hello_payload)

    async def challenged(self) -> list[str]:
        """Wait for CHALLENGE, and return the features that the relay chose.

        One that was cancelled may be called again.

        Raises WrongRelayError for a key that is not pinned, AuthError, NotSpokenError, PeerError,
        LinkLostError.
        """
        payload = await self._due(FrameType.CHALLENGE)
        challenge = decode_challenge(payload)
        if challenge.relay_key != encode_public(self._relay_key):
            raise WrongRelayError("the relay shows another key than the one pinned at enrolment")
        check_choice(self._hello, challenge)
        self._challenge_payload = payload
        return challenge.features

    async def ready(self) -> Agreed:
        """Send PROOF and wait for READY; raises as `challenged` does."""
        said = self._hello_payload, self._challenge_payload
        proof = self._key.sign(client_transcript(*said))
        send_frame(self._transport, FrameType.PROOF, proof)
        ready = await self._due(FrameType.READY)
        limits, taken = decode_ready(ready, *said, proof, self._relay_key, verify)
        if taken is not None and not self._hello.resume:
            raise PeerError("the relay resumes a link that nobody asked for")
        return Agreed(limits, link_id(*said), taken)

    async def _due(self, due: FrameType) -> bytes:
        # Whatever came instead was not signed, so it says nothing against the relay's key.
        return _payload(await self._inbox.receive(), due, NotSpokenError)


@dataclass(frozen=True, slots=True)
class Claim:
    """A client whose proof held: what it said, and what the relay's READY must sign."""

    hello: Hello
    version: int
    features: list[str]
    hello_payload: bytes
    challenge_payload: bytes
    proof: bytes

    @property
    def link(self) -> str:
        """The link's name in records."""
        return link_id(self.hello_payload, self.challenge_payload)


async def challenge(
    transport: MessageTransport,
    inbox: Inbox,
    key: PrivateKey,
    origins: frozenset[str],
    find_key: Callable[[str, str], Awaitable[bytes | None]],
) -> Claim:
    """Run the relay's side up to the proof (steps 2, 3, 5); the caller then admits the counter.

    `find_key` maps tunnel and instance to the public key stored at enrolment. Unknown instances,
    wrong keys and foreign origins fail alike, after the same work. Raises AuthError, PeerError.
    """
    hello_payload = await receive_frame(inbox, FrameType.HELLO)
    hello = decode_hello(hello_payload)
    version, features = choose(hello, VERSIONS, FEATURES)
    answer = Challenge(
        version=version,
        features=features,
        relay_key=encode_public(key.public),
        nonce=secrets.token_hex(32),
        time=int(time.time()),
    )
    challenge_payload = encode(answer)
    send_frame(transport, FrameType.CHALLENGE, challenge_payload)
    proof = await receive_frame(inbox, FrameType.PROOF)
    inbox.check_connected()  # where many come at once, those that gave up cost no more
    stored = await find_key(hello.tunnel, hello.instance)
    # An unknown instance is checked against our own key, so that it takes as long to refuse.
    held = verify(stored or key.public, proof, client_transcript(hello_payload, challenge_payload))
    if stored is None or not held or hello.origin not in origins:
        raise AuthError("not authenticated")
    return Claim(hello, version, features, hello_payload, challenge_payload, proof)


def ready(
    transport: MessageTransport,
    claim: Claim,
    limits: LinkLimits,
    key: PrivateKey,
    taken: int | None = None,
) -> None:
    """Send the relay's READY (step 7); the driver takes over the transport in the same turn.

    `taken`: the link that HELLO names goes on, and we took this many of its frames.
    """
    payload = encode_ready(
        claim.hello_payload, claim.challenge_payload, claim.proof, limits, key.sign, taken
    )
    send_frame(transport, FrameType.READY, payload)


def pinned_key(text: str) -> bytes:
    """Read a relay key from configuration; raises AuthError."""
    try:
        return decode_public(text)
    except BadKeyError as error:
        raise AuthError("the pinned relay key is malformed") from error
