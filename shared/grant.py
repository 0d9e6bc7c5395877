"""What a session is, in the relay's word: signed once a link, looked up once a call.

A grant names its audience (tunnel, client instance and that one link) and its end, so a recorded
one is worth nothing elsewhere or later. It holds no secret: who reads it can do nothing with it.
"""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from shared.errors import AuthError, PeerError, TooBigError
from shared.ids import is_name
from shared.jsonrpc.canonical import canonical, exact
from shared.keys import SIGNATURE_BYTES, PrivateKey, verify
from shared.policy.classes import ToolClass

MAX_BYTES = 16 * 1024
"""Signature and grant together; the wire has the same limit."""
MAX_WHO = 512
"""Characters in what names a user or an agent."""
MAX_GROUP = 256
_DOMAIN = b"mcp-tunnel grant v1\n"
_HEX = "0123456789abcdef"


@dataclass(frozen=True, slots=True)
class Grant:
    """What policy is judged with at the client. Times are seconds since the epoch, the relay's.

    `session` is the session's public id. `classes` says what its tools may do; empty: not
    narrowed. `instance` and `epoch` name the link it was signed for.
    """

    session: str
    user: str
    agent: str
    tunnel: str
    upstream: str
    groups: tuple[str, ...]
    classes: tuple[ToolClass, ...]
    issued: float
    expires: float
    instance: str
    epoch: int


def encode(grant: Grant, key: PrivateKey) -> bytes:
    """Return the payload of GRANT; raises TooBigError when a user is in too many groups.

    Raises PeerError for what no client would take: nothing is cut off, since a group that is
    missing could be the one that is denied.
    """
    body = canonical(asdict(grant))
    if SIGNATURE_BYTES + len(body) > MAX_BYTES:
        raise TooBigError("grant over its limit")
    _read(body)
    return key.sign(_DOMAIN + body) + body


def decode(payload: bytes, relay_public_key: bytes) -> Grant:
    """Read the payload of GRANT; raises AuthError unless this relay signed it, else PeerError.

    Nothing is judged: for whom it is and whether it is over is for the caller to look at.
    """
    if len(payload) > MAX_BYTES:
        raise TooBigError("grant over its limit")
    signature, body = payload[:SIGNATURE_BYTES], payload[SIGNATURE_BYTES:]
    if not verify(relay_public_key, signature, _DOMAIN + body):
        raise AuthError("a grant is not signed with the relay key pinned at enrolment")
    return _read(body)


def _read(body: bytes) -> Grant:
    try:
        value = exact(body)
        one_spelling = canonical(value) == body
    except ValueError:
        raise PeerError("a grant is not strict JSON") from None
    if not one_spelling or not isinstance(value, dict) or value.keys() != _CHECKS.keys():
        raise PeerError("a grant has other fields than due, or another spelling")
    for name, check in _CHECKS.items():
        if not check(value[name]):
            raise PeerError(f"a grant's {name} is malformed")
    if not value["issued"] < value["expires"]:
        raise PeerError("a grant ends before it begins")
    return _made(value)


def _made(value: Mapping[str, Any]) -> Grant:
    return Grant(
        **{
            **value,
            "groups": tuple(value["groups"]),
            "classes": tuple(map(ToolClass, value["classes"])),
            "issued": float(value["issued"]),
            "expires": float(value["expires"]),
        }
    )


def _is_text(longest: int) -> Callable[[Any], bool]:
    def check(value: Any) -> bool:
        # Shown to operators and written to logs: nothing that moves a cursor.
        return isinstance(value, str) and 0 < len(value) <= longest and value.isprintable()

    return check


def _is_label(value: Any) -> bool:
    return isinstance(value, str) and is_name(value)


def _is_id(value: Any) -> bool:
    return isinstance(value, str) and len(value) == 32 and not value.strip(_HEX)


def _is_time(value: Any) -> bool:
    return not isinstance(value, (bool, str, list, dict, type(None))) and 0 <= value < 2**53


def _is_count(value: Any) -> bool:
    return type(value) is int and 0 <= value < 2**53


def _are_groups(value: Any) -> bool:
    return isinstance(value, list) and all(map(_is_text(MAX_GROUP), value))


def _are_classes(value: Any) -> bool:
    known = set(ToolClass)
    return isinstance(value, list) and all(isinstance(one, str) and one in known for one in value)


_CHECKS: dict[str, Callable[[Any], bool]] = {
    "session": _is_id,
    "user": _is_text(MAX_WHO),
    "agent": _is_text(MAX_WHO),
    "tunnel": _is_label,
    "upstream": _is_label,
    "groups": _are_groups,
    "classes": _are_classes,
    "issued": _is_time,
    "expires": _is_time,
    "instance": _is_id,
    "epoch": _is_count,
}
