"""Ed25519 keys: both programs must sign and verify the same bytes the same way (RFC 8032)."""

import base64
import binascii
import hashlib

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from pydantic import SecretStr

PUBLIC_KEY_BYTES = 32
SIGNATURE_BYTES = 64


class BadKeyError(ValueError):
    """A key could not be read; the message never repeats the text."""


class PrivateKey:
    """An Ed25519 private key that never shows itself."""

    __slots__ = ("_key", "public")

    def __init__(self, key: Ed25519PrivateKey) -> None:
        self._key = key
        self.public: bytes = key.public_key().public_bytes_raw()

    @classmethod
    def generate(cls) -> "PrivateKey":
        """Make a fresh key."""
        return cls(Ed25519PrivateKey.generate())

    @classmethod
    def from_pem(cls, pem: SecretStr) -> "PrivateKey":
        """Read an unencrypted PKCS #8 PEM; raises BadKeyError."""
        try:
            key = serialization.load_pem_private_key(pem.get_secret_value().encode(), None)
        except (ValueError, TypeError) as error:
            raise BadKeyError("not a PEM private key") from error
        if not isinstance(key, Ed25519PrivateKey):
            raise BadKeyError("not an Ed25519 key")
        return cls(key)

    def to_pem(self) -> SecretStr:
        """Return the key as unencrypted PKCS #8 PEM, for a file of mode 0600."""
        encoded = self._key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        return SecretStr(encoded.decode())

    def sign(self, message: bytes) -> bytes:
        """Return the 64-byte signature over `message`."""
        return self._key.sign(message)

    def __repr__(self) -> str:
        return f"PrivateKey({key_fingerprint(self.public)})"


def verify(public: bytes, signature: bytes, message: bytes) -> bool:
    """Tell whether `signature` over `message` was made with the key of `public`; total."""
    try:
        Ed25519PublicKey.from_public_bytes(public).verify(signature, message)
    except (InvalidSignature, ValueError):
        return False
    return True


def encode_public(public: bytes) -> str:
    """Write a public key for configuration files and JSON: 43 url-safe characters."""
    return base64.urlsafe_b64encode(public).rstrip(b"=").decode()


def decode_public(text: str) -> bytes:
    """Read what `encode_public` wrote; raises BadKeyError."""
    try:
        public = base64.b64decode(text.encode() + b"=", altchars=b"-_", validate=True)
    except (binascii.Error, ValueError) as error:
        raise BadKeyError("not a public key") from error
    if len(public) != PUBLIC_KEY_BYTES or encode_public(public) != text:
        raise BadKeyError("not a public key")
    return public


def key_fingerprint(public: bytes) -> str:
    """Return the 16 hex digits by which people compare public keys."""
    return hashlib.sha256(public).hexdigest()[:16]
