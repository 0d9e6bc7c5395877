"""The relay's own keys: made once, kept in files, refused when they are no secret."""

import itertools
import secrets
from collections.abc import Mapping
from functools import cache
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from pydantic import SecretStr

from shared.configfile import SecretError, SecretRef
from shared.keys import BadKeyError, PrivateKey
from tunnel_relay.errors import Code, RelayError
from tunnel_relay.files import read_private

SESSION_KEY_BYTES = 32
MIN_DISTINCT_BYTES = 16
"""32 random bytes have fewer distinct values than this once in more than 10^9 keys."""

_RFC8032_SEEDS = (
    "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
    "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
    "c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7",
)
"""The example keys everyone can read (RFC 8032 section 7.1)."""


def read_relay_key(path: Path) -> PrivateKey:
    """Read the key that signs the relay's half of a handshake; raises RelayError."""
    try:
        key = PrivateKey.from_pem(SecretStr(read_private(path)))
    except BadKeyError as error:
        raise RelayError(Code.KEY_UNUSABLE, f"{path}: {error}") from error
    if key.public in _public_secrets():
        raise RelayError(Code.KEY_UNUSABLE, f"{path} holds an example key that anyone can know")
    return key


def new_session_key() -> SecretStr:
    """Make the key under which MCP session ids are bound to sessions, as text for a file."""
    return SecretStr(secrets.token_hex(SESSION_KEY_BYTES) + "\n")


def read_session_key(path: Path) -> bytes:
    """Read what `new_session_key` made: at least 32 bytes in hex; raises RelayError."""
    try:
        key = bytes.fromhex(read_private(path).strip())
    except ValueError:
        raise RelayError(Code.KEY_UNUSABLE, f"{path} is not hexadecimal") from None
    if len(key) < SESSION_KEY_BYTES:
        raise RelayError(Code.KEY_UNUSABLE, f"{path} is shorter than {SESSION_KEY_BYTES} bytes")
    steps = {(later - earlier) % 256 for earlier, later in itertools.pairwise(key)}
    if len(set(key)) < MIN_DISTINCT_BYTES or len(steps) == 1:
        raise RelayError(Code.KEY_UNUSABLE, f"{path} is not random")
    return key


@cache
def _public_secrets() -> frozenset[bytes]:
    seeds = [bytes([value]) * 32 for value in range(256)] + [bytes(range(32))]
    seeds += [bytes.fromhex(seed) for seed in _RFC8032_SEEDS]
    return frozenset(
        PrivateKey(Ed25519PrivateKey.from_private_bytes(seed)).public for seed in seeds
    )


def read_secret(reference: SecretRef, environ: Mapping[str, str]) -> SecretStr:
    """Fetch the secret that the configuration refers to.

    Raises RelayError: SECRET_UNUSABLE, and FILE_UNSAFE when others could read or change its file.
    """
    try:
        return reference.resolve(environ, lambda path: read_private(Path(path)))
    except SecretError as error:
        raise RelayError(Code.SECRET_UNUSABLE, str(error)) from None
    except RelayError as error:
        if error.code is Code.FILE_UNSAFE:
            raise
        raise RelayError(Code.SECRET_UNUSABLE, error.message) from None
