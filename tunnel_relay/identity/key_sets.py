"""The keys in an issuer's key set (RFC 7517) that may verify its tokens. Pure."""

from collections import Counter
from collections.abc import Mapping
from typing import Any

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from jwt import PyJWK
from jwt.exceptions import PyJWTError

MAX_KEYS = 64
MAX_KID = 200
MIN_RSA_BITS = 2048
MAX_RSA_BITS = 8192
"""A larger one makes every check slow."""
_CURVES = {"ES256": "P-256", "ES384": "P-384", "ES512": "P-521"}

KeySet = Mapping[tuple[str, str], PyJWK]
"""Keys by `kid` and algorithm."""


def read_key_set(document: Mapping[str, Any], algorithms: tuple[str, ...]) -> KeySet:
    """Return the keys for these algorithms; raises ValueError when it is no key set.

    A key that is not for signatures, is too weak, or shares its name with another is left out.
    """
    listed = document.get("keys")
    if not isinstance(listed, list) or len(listed) > MAX_KEYS:
        raise ValueError(f"it has no list of at most {MAX_KEYS} keys")
    found: dict[tuple[str, str], PyJWK] = {}
    named: Counter[tuple[str, str]] = Counter()
    for jwk in listed:
        if not isinstance(jwk, dict) or not _signs(jwk):
            continue
        for algorithm in algorithms:
            if _suits(jwk, algorithm):
                key = _load(jwk, algorithm)
                if key is not None:
                    name = jwk["kid"], algorithm
                    named[name] += 1
                    found[name] = key
    # Which of two was meant nobody can tell.
    return {name: key for name, key in found.items() if named[name] == 1}


def _signs(jwk: Mapping[str, Any]) -> bool:
    kid, operations = jwk.get("kid"), jwk.get("key_ops", ["verify"])
    if not isinstance(kid, str) or not 0 < len(kid) <= MAX_KID:
        return False
    if "d" in jwk or "k" in jwk:
        return False  # not a public key at all
    return (
        jwk.get("use", "sig") == "sig" and isinstance(operations, list) and "verify" in operations
    )


def _suits(jwk: Mapping[str, Any], algorithm: str) -> bool:
    if jwk.get("alg", algorithm) != algorithm:
        return False
    kind, curve = jwk.get("kty"), jwk.get("crv")
    if algorithm.startswith(("RS", "PS")):
        return kind == "RSA"
    if algorithm == "EdDSA":
        return kind == "OKP" and curve in ("Ed25519", "Ed448")
    return kind == "EC" and curve == _CURVES[algorithm]


def _load(jwk: Mapping[str, Any], algorithm: str) -> PyJWK | None:
    try:
        key = PyJWK(dict(jwk), algorithm)
    except (PyJWTError, ValueError, TypeError, KeyError):
        return None
    if isinstance(key.key, RSAPublicKey) and not MIN_RSA_BITS <= key.key.key_size <= MAX_RSA_BITS:
        return None
    return key
