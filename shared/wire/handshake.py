"""How a client and a relay prove who they are (docs/protocol.md section 4).

HELLO and CHALLENGE say everything that is agreed; PROOF is the client's signature over both, READY
the relay's signature over all that went before and the link's limits. Nothing can be changed,
dropped or downgraded on the way without breaking a signature. Pure: signing and the random nonce
come from the caller.
"""

import hashlib
import json
import struct
from collections.abc import Callable
from dataclasses import asdict, dataclass, fields
from typing import Any

from shared.errors import AuthError, PeerError, TooBigError
from shared.ids import is_name
from shared.wire.limits import (
    MAX_FRAME_BYTES,
    MAX_HANDSHAKE_BYTES,
    MAX_LINKS,
    MAX_MESSAGE_BYTES,
    MESSAGE_HEADER_BYTES,
    MIB,
    LinkLimits,
)

NONCE_HEX = 64
MAX_TEXT = 256
_CLIENT_DOMAIN = b"mcp-tunnel.v1 client proof\0"
_RELAY_DOMAIN = b"mcp-tunnel.v1 relay proof\0"
_LINK_DOMAIN = b"mcp-tunnel.v1 link\0"
LINK_HEX = 16
PROCESS_HEX = 32
_LENGTH = struct.Struct(">I")
_SIGNATURE_BYTES = 64

Sign = Callable[[bytes], bytes]
Verify = Callable[[bytes, bytes, bytes], bool]
"""public key, signature, message -> whether it holds."""


@dataclass(frozen=True, slots=True)
class Hello:
    """What the client says first. `counter` rises with every connect and is the link's epoch.

    `resume` names the link that should go on, of which `taken` frames were taken; empty: none.
    `process` is drawn anew at each start of the program; `slot` says which of its links this is. An
    older client says neither, and has one link.
    """

    tunnel: str
    instance: str
    counter: int
    origin: str
    versions: list[int]
    features: list[str]
    time: int
    program: str
    resume: str = ""
    taken: int = 0
    process: str = ""
    slot: int = 0


@dataclass(frozen=True, slots=True)
class Challenge:
    """What the relay answers: the version and features it chose, its key, and a nonce."""

    version: int
    features: list[str]
    relay_key: str
    nonce: str
    time: int


def encode(value: Hello | Challenge) -> bytes:
    """Return the payload of HELLO or CHALLENGE; without a process HELLO is an older client's."""
    said = asdict(value)
    if isinstance(value, Hello) and not value.process:
        del said["process"], said["slot"]
    return _dump(said)


def decode_hello(payload: bytes) -> Hello:
    """Read HELLO; raises PeerError.

    It comes before anything is agreed, so what a newer client says besides is let be.
    """
    value = _object(payload)
    said: dict[str, Callable[[Any], bool]] = {}
    if "process" in value:
        said["process"] = _is_hex(PROCESS_HEX)
        if "slot" in value:
            said["slot"] = _is_slot
    return Hello(
        **_checked(
            value,
            **said,
            tunnel=_is_label,
            instance=_is_hex(32),
            counter=_is_count,
            origin=_is_text,
            versions=_is_list(_is_count),
            features=_is_list(_is_text),
            time=_is_count,
            program=_is_text,
            resume=_is_link,
            taken=_is_count,
        )
    )


def decode_challenge(payload: bytes) -> Challenge:
    """Read CHALLENGE; raises PeerError."""
    return Challenge(
        **_fields(
            payload,
            version=_is_count,
            features=_is_list(_is_text),
            relay_key=_is_text,
            nonce=_is_hex(NONCE_HEX),
            time=_is_count,
        )
    )


def choose(
    hello: Hello, versions: frozenset[int], features: frozenset[str]
) -> tuple[int, list[str]]:
    """Return the version and features of a link; raises AuthError when there is no common one."""
    common = versions.intersection(hello.versions)
    if not common:
        raise AuthError("no wire version in common")
    return max(common), sorted(features.intersection(hello.features))


def check_choice(hello: Hello, challenge: Challenge) -> None:
    """Refuse a choice that was not offered; raises AuthError."""
    if challenge.version not in hello.versions or not set(challenge.features) <= set(
        hello.features
    ):
        raise AuthError("the relay chose what was not offered")


def client_transcript(hello: bytes, challenge: bytes) -> bytes:
    """Return the bytes the client signs."""
    return _CLIENT_DOMAIN + _parts(hello, challenge)


def relay_transcript(hello: bytes, challenge: bytes, proof: bytes, ready: bytes) -> bytes:
    """Return the bytes the relay signs."""
    return _RELAY_DOMAIN + _parts(hello, challenge, proof, ready)


def link_id(hello: bytes, challenge: bytes) -> str:
    """Return what both ends call this link in their records: LINK_HEX digits.

    The client's counter and the relay's nonce are in it, so neither side alone can make it repeat.
    """
    return hashlib.sha256(_LINK_DOMAIN + _parts(hello, challenge)).hexdigest()[:LINK_HEX]


def encode_ready(
    hello: bytes,
    challenge: bytes,
    proof: bytes,
    limits: LinkLimits,
    sign: Sign,
    taken: int | None = None,
) -> bytes:
    """Return the payload of READY: the relay's signature and the link's limits.

    `taken` says that the link which HELLO names goes on, and how many frames of it were taken.
    """
    body = _dump({**asdict(limits), "taken": taken})
    return sign(relay_transcript(hello, challenge, proof, body)) + body


def decode_ready(
    payload: bytes, hello: bytes, challenge: bytes, proof: bytes, relay_key: bytes, verify: Verify
) -> tuple[LinkLimits, int | None]:
    """Read READY: the limits, and how many frames of a link that goes on the relay has taken.

    Raises AuthError unless the pinned relay signed it, PeerError if malformed.
    """
    signature, body = payload[:_SIGNATURE_BYTES], payload[_SIGNATURE_BYTES:]
    if not verify(relay_key, signature, relay_transcript(hello, challenge, proof, body)):
        raise AuthError("READY is not signed with the relay key pinned at enrolment")
    checks: dict[str, Callable[[Any], bool]] = {
        field.name: _is_seconds if field.name.startswith("ping") else _is_size
        for field in fields(LinkLimits)
    }
    checks |= {"resume_seconds": _is_grace, "taken": _is_taken}
    values = _fields(body, **checks)
    taken: int | None = values.pop("taken")
    limits = LinkLimits(**values)
    largest = MESSAGE_HEADER_BYTES + limits.flush_bytes + MAX_FRAME_BYTES
    if largest > min(limits.message_bytes, MAX_MESSAGE_BYTES):
        raise PeerError("message limit below one flush and one frame")
    return limits, taken


def _parts(*parts: bytes) -> bytes:
    return b"".join(_LENGTH.pack(len(part)) + part for part in parts)


def _dump(value: dict[str, Any]) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()


def _fields(payload: bytes, **checks: Callable[[Any], bool]) -> dict[str, Any]:
    """Read a JSON object with exactly these keys, each passing its check."""
    value = _object(payload)
    if value.keys() != checks.keys():
        raise PeerError("handshake frame has other fields than due")
    return _checked(value, **checks)


def _checked(value: dict[str, Any], **checks: Callable[[Any], bool]) -> dict[str, Any]:
    """Return the fields that there are checks for, each passing its own."""
    if not value.keys() >= checks.keys():
        raise PeerError("handshake frame has other fields than due")
    for name, check in checks.items():
        if not check(value[name]):
            raise PeerError(f"handshake field {name} is malformed")
    return {name: value[name] for name in checks}


def _object(payload: bytes) -> dict[str, Any]:
    if len(payload) > MAX_HANDSHAKE_BYTES:
        raise TooBigError("handshake frame over its limit")
    try:
        value = json.loads(payload, object_pairs_hook=_unique)
    except (ValueError, RecursionError):
        raise PeerError("handshake frame is not strict JSON") from None
    if not isinstance(value, dict):
        raise PeerError("handshake frame is no object")
    return value


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) != len(pairs):
        raise ValueError("duplicate key")
    return value


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and 0 < len(value) <= MAX_TEXT and _is_printable(value)


def _is_printable(value: str) -> bool:
    # These texts are shown to operators: no control characters reach a terminal or a log.
    return value.isascii() and value.isprintable()


def _is_label(value: Any) -> bool:
    return isinstance(value, str) and is_name(value)


def _is_count(value: Any) -> bool:
    return type(value) is int and 0 <= value < 2**53


def _is_size(value: Any) -> bool:
    return type(value) is int and 0 < value <= 256 * MIB


def _is_seconds(value: Any) -> bool:
    return type(value) in (int, float) and 0 < value <= 3600


def _is_grace(value: Any) -> bool:
    return (value == 0 and type(value) in (int, float)) or _is_seconds(value)


def _is_taken(value: Any) -> bool:
    return value is None or _is_count(value)


def _is_slot(value: Any) -> bool:
    return _is_count(value) and value < MAX_LINKS


def _is_link(value: Any) -> bool:
    return value == "" or _is_hex(LINK_HEX)(value)


def _is_hex(digits: int) -> Callable[[Any], bool]:
    def check(value: Any) -> bool:
        return (
            isinstance(value, str)
            and len(value) == digits
            and set(value) <= set("0123456789abcdef")
        )

    return check


def _is_list(check: Callable[[Any], bool]) -> Callable[[Any], bool]:
    def check_all(value: Any) -> bool:
        return isinstance(value, list) and len(value) <= 16 and all(check(item) for item in value)

    return check_all
