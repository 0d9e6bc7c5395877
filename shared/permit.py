"""Permits: what a human signed so that one tool call with exactly these arguments may run, once.

As text: `PAYLOAD.APPROVERS.KEY~SIGNATURE...`, url-safe. The payload is the canonical spelling of
the permit. An approver's key signs the payload; a passkey signs a challenge made of it, and its
signature is an assertion in three parts (`shared.passkey`). The relay's key signs the payload
together with the names of the approvers. No signature of one of these kinds counts as another's:
what each signs begins with words of its own.
"""

import base64
import binascii
import hashlib
import json
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Self

from shared.errors import PeerError
from shared.jsonrpc.canonical import canonical, digest
from shared.keys import SIGNATURE_BYTES, BadKeyError, PrivateKey, key_fingerprint
from shared.keys import verify as verify_signature
from shared.passkey import ApproverKey, Assertion, Passkey, approver_fingerprint

MAX_TEXT = 7 * 1024
"""Characters of a permit as text: it travels in the head of a stream, which has 8 KiB beside the
headers. Eight passkeys find room beside the longest payload."""
MAX_SIGNATURES = 16
MAX_APPROVERS = 16
_OF_APPROVER = b"mcp-tunnel permit v1: an approver signs\0"
_OF_PASSKEY = b"mcp-tunnel permit v1: an approver's passkey signs\0"
_OF_RELAY = b"mcp-tunnel permit v1: the relay signs for approvers\0"
_TEXTS = {
    **dict.fromkeys(("id", "session"), 64),
    **dict.fromkeys(("user", "agent"), 512),
    **dict.fromkeys(("definition", "arguments", "policy"), 64),
    **dict.fromkeys(("server", "tool"), 256),
    "tool_class": 32,
}
"""The longest that each text may be, in characters."""

OWN_ANSWERS = "mcp-tunnel/approval/"
"""How the keys of `inputRequests` begin that the relay itself made, when it asked for approval."""
NOT_COVERED = frozenset({"name", "_meta"})
"""The members of `params` that an approval is not for: the tool has a field of its own, and what is
said of a request may change with each. All else says what a call does, or may to some server."""


class PermitError(PeerError):
    """A permit that permits nothing; `kind` is one word for logs and records."""

    def __init__(self, kind: str) -> None:
        super().__init__(f"the permit is refused: {kind}")
        self.kind = kind


@dataclass(frozen=True, slots=True)
class Permit:
    """One call that a human looked at. Times are seconds since the epoch.

    `server` is the upstream's name; `definition`, `arguments` and `policy` are SHA-256 in hex: of
    the tool's whole definition, of what `covered` returns, and of the policy that asked.
    """

    id: str
    session: str
    user: str
    agent: str
    server: str
    tool: str
    definition: str
    arguments: str
    policy: str
    tool_class: str
    issued: int
    expires: int

    def payload(self) -> bytes:
        """Return the bytes that are signed."""
        return canonical({name: getattr(self, name) for name in self.__slots__})

    @classmethod
    def of_payload(cls, payload: bytes) -> Self:
        """Read what `payload` returned, in that spelling only; raises PermitError."""
        try:
            values = json.loads(payload)
        except (ValueError, RecursionError):
            raise PermitError("malformed") from None
        if not isinstance(values, dict) or values.keys() != {*cls.__slots__}:
            raise PermitError("malformed")
        texts = (isinstance(values[key], str) and len(values[key]) <= most
                 for key, most in _TEXTS.items())  # fmt: skip
        times = (type(values[key]) is int and 0 <= values[key] < 2**53
                 for key in ("issued", "expires"))  # fmt: skip
        if not all(texts) or not all(times):
            raise PermitError("malformed")
        permit = cls(**values)
        try:
            exact = permit.payload() == payload
        except ValueError:
            exact = False
        if not exact:
            raise PermitError("malformed")
        return permit


@dataclass(frozen=True, slots=True)
class Signed:
    """A permit with who approved, as the relay says, and signatures by the key's fingerprint."""

    permit: Permit
    approvers: tuple[str, ...]
    signatures: Mapping[str, bytes | Assertion]

    def text(self) -> str:
        """Return it as text; raises PermitError for one that is too long."""
        parts = [_encode(self.permit.payload()), _encode(canonical(list(self.approvers)))]
        parts += (f"{key}~{_spelled(self.signatures[key])}" for key in sorted(self.signatures))
        text = ".".join(parts)
        if len(text) > MAX_TEXT or len(self.signatures) > MAX_SIGNATURES:
            raise PermitError("too long")
        return text

    def by(self, keys: Iterable[ApproverKey]) -> list[ApproverKey]:
        """Return which of these approvers' public keys signed, each once."""
        found = {key: self.signatures.get(approver_fingerprint(key)) for key in keys}
        return [key for key, made in found.items() if made and is_signed(self.permit, key, made)]

    def by_relay(self, key: bytes) -> bool:
        """Tell whether the relay of this public key vouches for the permit and its approvers."""
        made = self.signatures.get(key_fingerprint(key))
        return isinstance(made, bytes) and verify_signature(key, made, self._of_relay())

    def vouched(self, key: PrivateKey) -> "Signed":
        """Return it with the relay's signature."""
        made = {**self.signatures, key_fingerprint(key.public): key.sign(self._of_relay())}
        return Signed(self.permit, self.approvers, made)

    def _of_relay(self) -> bytes:
        return _OF_RELAY + canonical([json.loads(self.permit.payload()), list(self.approvers)])


def approver_message(permit: Permit) -> bytes:
    """Return what an approver's key signs."""
    return _OF_APPROVER + permit.payload()


def passkey_challenge(permit: Permit) -> bytes:
    """Return the challenge that an approver's passkey signs."""
    return hashlib.sha256(_OF_PASSKEY + permit.payload()).digest()


def is_signed(permit: Permit, key: ApproverKey, made: bytes | Assertion) -> bool:
    """Tell whether an approver's key signed a permit, in the way of keys of its kind."""
    if isinstance(key, Passkey):
        return isinstance(made, Assertion) and key.signed(made, passkey_challenge(permit))
    return isinstance(made, bytes) and verify_signature(key, made, approver_message(permit))


def decode(text: str) -> Signed:
    """Read a permit; total: any text ends in a Signed or a PermitError. Nothing is verified yet."""
    if len(text) > MAX_TEXT or not text.isascii():
        raise PermitError("malformed")
    payload, *rest = text.split(".")
    if not 1 <= len(rest) <= 1 + MAX_SIGNATURES:
        raise PermitError("malformed")
    permit = Permit.of_payload(_decode(payload))
    signatures: dict[str, bytes | Assertion] = {}
    for part in rest[1:]:
        key, _, made = part.partition("~")
        if key in signatures or len(key) != 16:
            raise PermitError("malformed")
        signatures[key] = _signature(made)
    return Signed(permit, _approvers(_decode(rest[0])), signatures)


def covered(params: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return what of a call's `params` an approval is for.

    Read the body with `shared.jsonrpc.canonical.exact`, which keeps every digit. Left out is an
    answer to a question of the relay's own, which says nothing but that it was seen.
    """
    found = {name: value for name, value in (params or {}).items() if name not in NOT_COVERED}
    answers = found.get("inputResponses")
    if isinstance(answers, dict):
        kept = {key: value for key, value in answers.items() if not _is_own(key, value)}
        if kept or not answers:
            found["inputResponses"] = kept
        else:
            del found["inputResponses"]
    return found


def arguments_digest(params: Mapping[str, Any] | None) -> str:
    """Return the digest by which a permit names the arguments of a call; raises ValueError."""
    return digest(covered(params))


def check_keys(signed: Signed, keys: Collection[ApproverKey], count: int, relay_key: bytes) -> None:
    """Refuse a permit that too few signed; raises PermitError.

    Where approvers' keys are listed only they count, `count` different ones; else the relay's does,
    and it has to name as many approvers.
    """
    if keys:
        enough = len(signed.by(keys)) >= max(1, count)
    else:
        enough = len(set(signed.approvers)) >= max(1, count) and signed.by_relay(relay_key)
    if not enough:
        raise PermitError("signature")


def _is_own(key: str, value: Any) -> bool:
    return key.startswith(OWN_ANSWERS) and isinstance(value, dict) and value.keys() <= {"action"}


def _approvers(encoded: bytes) -> tuple[str, ...]:
    try:
        names = json.loads(encoded)
    except (ValueError, RecursionError):
        raise PermitError("malformed") from None
    good = isinstance(names, list) and len(names) <= MAX_APPROVERS
    if not good or not all(isinstance(name, str) and len(name) <= 512 for name in names):
        raise PermitError("malformed")
    try:
        exact = canonical(names) == encoded
    except ValueError:
        exact = False
    if not exact:
        raise PermitError("malformed")
    return tuple(names)


def _signature(text: str) -> bytes | Assertion:
    if "~" in text:
        try:
            return Assertion.parse(text)
        except BadKeyError:
            raise PermitError("malformed") from None
    signature = _decode(text)
    if len(signature) != SIGNATURE_BYTES:
        raise PermitError("malformed")
    return signature


def _spelled(made: bytes | Assertion) -> str:
    return made.text() if isinstance(made, Assertion) else _encode(made)


def _encode(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _decode(text: str) -> bytes:
    try:
        data = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        raise PermitError("malformed") from None
    if _encode(data) != text:
        raise PermitError("malformed")
    return data
