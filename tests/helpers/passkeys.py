"""A passkey in software: signs what a browser and an authenticator would, or would not."""

import hashlib
import json
from dataclasses import dataclass
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ec import (
    ECDSA,
    SECP256R1,
    EllipticCurvePrivateKey,
    generate_private_key,
)
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from shared.keys import PrivateKey
from shared.passkey import EDDSA, ES256, Assertion, Passkey, encode

ORIGIN = "https://console.example.com"
PRESENT, VERIFIED, ATTESTED = 1, 4, 64


@dataclass(frozen=True)
class SoftPasskey:
    """A private key and the passkey it is of."""

    key: EllipticCurvePrivateKey | PrivateKey
    public: Passkey

    @classmethod
    def make(cls, algorithm: str = ES256, origin: str = ORIGIN) -> "SoftPasskey":
        """Make a fresh one."""
        if algorithm == EDDSA:
            key = PrivateKey.generate()
            return cls(key, Passkey(EDDSA, key.public, origin))
        curve = generate_private_key(SECP256R1())
        point = curve.public_key().public_bytes(Encoding.X962, PublicFormat.CompressedPoint)
        return cls(curve, Passkey(ES256, point, origin))

    def registered(
        self,
        challenge: bytes,
        *,
        flags: int = PRESENT | VERIFIED | ATTESTED,
        host: str | None = None,
        credential: bytes = bytes(range(32)),
        said: dict[str, Any] | None = None,
    ) -> tuple[bytes, bytes]:
        """Return client data and authenticator data of a registration."""
        party = self.public.relying_party if host is None else host
        data = hashlib.sha256(party.encode()).digest() + bytes([flags]) + bytes(4)
        data += bytes(16) + len(credential).to_bytes(2, "big") + credential + self.cose()
        made = {"type": "webauthn.create"} | (said or {})
        return client_data_of(challenge, self.public.origin, made), data

    def cose(self) -> bytes:
        """Return the public key as authenticators write it."""
        if isinstance(self.key, PrivateKey):
            return bytes.fromhex("a4010103272006215820") + self.key.public
        point = self.key.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
        head, middle = bytes.fromhex("a5010203262001215820"), bytes.fromhex("225820")
        return head + point[1:33] + middle + point[33:]

    def sign(
        self,
        challenge: bytes,
        *,
        flags: int = PRESENT | VERIFIED,
        host: str | None = None,
        more: bytes = b"",
        client_data: bytes | None = None,
        said: dict[str, Any] | None = None,
    ) -> Assertion:
        """Sign a challenge; `said` changes members of the client data."""
        party = self.public.relying_party if host is None else host
        data = hashlib.sha256(party.encode()).digest() + bytes([flags]) + bytes(4) + more
        if client_data is None:
            client_data = client_data_of(challenge, self.public.origin, said)
        message = data + hashlib.sha256(client_data).digest()
        if isinstance(self.key, PrivateKey):
            return Assertion(data, client_data, self.key.sign(message))
        return Assertion(data, client_data, self.key.sign(message, ECDSA(SHA256())))


def client_data_of(
    challenge: bytes, origin: str = ORIGIN, said: dict[str, Any] | None = None
) -> bytes:
    """Return what a browser would write."""
    members = {"type": "webauthn.get", "challenge": encode(challenge), "origin": origin}
    return json.dumps(
        {**members, "crossOrigin": False, **(said or {})}, separators=(",", ":")
    ).encode()
