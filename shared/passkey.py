"""Passkeys (WebAuthn) as approvers' keys: their text, and what an assertion has to say. Pure.

As text: `passkey:ALGORITHM:KEY:ORIGIN`. The origin is exact, port included: a browser writes it
into what is signed, so it is compared and never taken apart, and a page of a neighbouring name or
port gets no signature that counts. The relying party is the host of that origin.

Signature counters are ignored: synchronised passkeys have none, and what is signed names one permit
that is used once, so a repeated assertion is worth nothing.
"""

import base64
import binascii
import hashlib
import json
import re
from dataclasses import dataclass
from typing import Any, Self

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import (
    ECDSA,
    SECP256R1,
    EllipticCurvePublicKey,
)
from cryptography.hazmat.primitives.hashes import SHA256

from shared.keys import PUBLIC_KEY_BYTES, BadKeyError, decode_public, key_fingerprint
from shared.keys import verify as verify_ed25519

ES256 = "es256"
EDDSA = "eddsa"
PREFIX = "passkey:"
MAX_ORIGIN = 200
MAX_CLIENT_DATA = 1024
"""Bytes of clientDataJSON; browsers write 150 to 300."""
MAX_AUTHENTICATOR_DATA = 256
"""Bytes; 37 without extensions."""
MAX_SIGNATURE = 72
"""Bytes of a DER signature on P-256."""
_KEY_BYTES = {ES256: 33, EDDSA: PUBLIC_KEY_BYTES}
_HEAD_BYTES = 37
_PRESENT, _VERIFIED, _ELIGIBLE, _BACKED_UP, _ATTESTED, _EXTENDED = 1, 4, 8, 16, 64, 128
_LABEL = "[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
_ORIGIN = re.compile(
    rf"(?:https://(?P<name>(?:{_LABEL}\.)*[a-z](?:[a-z0-9-]{{0,61}}[a-z0-9])?)"
    r"|http://(?P<local>localhost))(?::[1-9][0-9]{0,4})?"
)
"""As browsers write origins; an address is none that a passkey can be for."""


@dataclass(frozen=True, slots=True)
class Assertion:
    """What a browser returns when a passkey signs; nothing of it is believed yet."""

    authenticator_data: bytes
    client_data: bytes
    signature: bytes

    def text(self) -> str:
        """Return it as three url-safe parts with `~` between them."""
        return "~".join(map(encode, (self.authenticator_data, self.client_data, self.signature)))

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read what `text` returned, within its bounds; raises BadKeyError."""
        parts = text.split("~", 3)
        if len(parts) != 3:
            raise BadKeyError("not an assertion")
        made = cls(*map(decode, parts))
        if (
            not _HEAD_BYTES <= len(made.authenticator_data) <= MAX_AUTHENTICATOR_DATA
            or not 0 < len(made.client_data) <= MAX_CLIENT_DATA
            or not 0 < len(made.signature) <= MAX_SIGNATURE
        ):
            raise BadKeyError("not an assertion")
        return made


@dataclass(frozen=True, slots=True)
class Passkey:
    """A public key, and the one origin whose pages may ask for its signature.

    `public` is a compressed point (33 bytes) for `es256`, the key itself (32) for `eddsa`.
    """

    algorithm: str
    public: bytes
    origin: str

    def text(self) -> str:
        """Return it as it stands in policy files."""
        return f"{PREFIX}{self.algorithm}:{encode(self.public)}:{self.origin}"

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read what `text` returned, in that spelling only; raises BadKeyError."""
        parts = text.split(":", 3)
        if len(parts) != 4 or f"{parts[0]}:" != PREFIX:
            raise BadKeyError("not a passkey")
        found = cls(parts[1], decode(parts[2]), parts[3])
        good = len(found.origin) <= MAX_ORIGIN and _ORIGIN.fullmatch(found.origin)
        if not good or len(found.public) != _KEY_BYTES.get(found.algorithm):
            raise BadKeyError("not a passkey")
        if found.algorithm == ES256:
            _point(found.public)
        return found

    @property
    def fingerprint(self) -> str:
        """The 16 hex digits by which people compare it."""
        return hashlib.sha256(self.text().encode()).hexdigest()[:16]

    @property
    def relying_party(self) -> str:
        """The host of its origin."""
        found = _ORIGIN.fullmatch(self.origin)
        return "" if found is None else found["name"] or found["local"]

    def signed(self, made: Assertion, challenge: bytes) -> bool:
        """Tell whether an assertion is of this passkey, over this challenge; total."""
        if not _is_by_a_person(made.authenticator_data, self.relying_party):
            return False
        if not is_about(made.client_data, challenge, self.origin):
            return False
        message = made.authenticator_data + hashlib.sha256(made.client_data).digest()
        if self.algorithm == EDDSA:
            return verify_ed25519(self.public, made.signature, message)
        try:
            _point(self.public).verify(made.signature, message, ECDSA(SHA256()))
        except (BadKeyError, InvalidSignature, ValueError):
            return False
        return True


def _point(public: bytes) -> EllipticCurvePublicKey:
    try:
        return EllipticCurvePublicKey.from_encoded_point(SECP256R1(), public)
    except (ValueError, UnsupportedAlgorithm):
        raise BadKeyError("not a point of P-256") from None


def _is_by_a_person(data: bytes, relying_party: str) -> bool:
    """Tell whether a person was there and verified, for this relying party."""
    if not _HEAD_BYTES <= len(data) <= MAX_AUTHENTICATOR_DATA:
        return False
    flags = data[32]
    # What extensions say is covered by the signature and means nothing here.
    length = bool(flags & _EXTENDED) == (len(data) > _HEAD_BYTES)
    backed_up = not flags & _BACKED_UP or bool(flags & _ELIGIBLE)
    by_person = flags & _PRESENT and flags & _VERIFIED and not flags & _ATTESTED
    ours = data[:32] == hashlib.sha256(relying_party.encode()).digest()
    return bool(ours and by_person and length and backed_up)


def is_about(data: bytes, challenge: bytes, origin: str, kind: str = "webauthn.get") -> bool:
    """Tell whether a browser says that a page of this origin asked for this challenge; total."""
    if len(data) > MAX_CLIENT_DATA:
        return False
    try:
        said = json.loads(data.decode(), object_pairs_hook=_once, parse_constant=_refuse)
    except (ValueError, RecursionError):
        return False
    # Browsers add members as they like, so others may be there; these decide.
    return (
        isinstance(said, dict)
        and said.get("type") == kind
        and said.get("challenge") == encode(challenge)
        and said.get("origin") == origin
        and said.get("crossOrigin", False) is False
        and "topOrigin" not in said
    )


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a member stands there twice")
    return found


def _refuse(word: str) -> Any:
    raise ValueError("not JSON")


def encode(data: bytes) -> str:
    """Return bytes as url-safe base64 without padding."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def decode(text: str) -> bytes:
    """Read what `encode` wrote, in that spelling only; raises BadKeyError."""
    try:
        data = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        raise BadKeyError("not base64url") from None
    if encode(data) != text:
        raise BadKeyError("not base64url")
    return data


ApproverKey = bytes | Passkey
"""What a policy lists: an Ed25519 public key, or a passkey."""


def read_approver_key(text: str) -> ApproverKey:
    """Read an approver's key as a policy file has it; raises BadKeyError."""
    return Passkey.parse(text) if text.startswith(PREFIX) else decode_public(text)


def approver_fingerprint(key: ApproverKey) -> str:
    """Return the 16 hex digits by which a permit and people name an approver's key."""
    return key.fingerprint if isinstance(key, Passkey) else key_fingerprint(key)
