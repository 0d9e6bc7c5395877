"""Which keys of a key set may verify tokens."""

from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from tests.tunnel_relay.identity.minting import OTHER, curve_jwk, edwards_jwk, key_set, rsa_jwk
from tunnel_relay.identity.key_sets import MAX_KEYS, read_key_set
from tunnel_relay.settings_issuers import ALGORITHMS, DEFAULT_ALGORITHMS


def names(*keys: Any, algorithms: tuple[str, ...] = DEFAULT_ALGORITHMS) -> set[tuple[str, str]]:
    return set(read_key_set({"keys": list(keys)}, algorithms))


def test_a_key_is_for_the_algorithms_of_its_kind() -> None:
    found = read_key_set(key_set(), DEFAULT_ALGORITHMS)
    assert set(found) == {
        *(("k1", "RS256"), ("k1", "PS256")),
        *(("k2", "ES256"), ("k3", "EdDSA")),
    }
    assert names(rsa_jwk(alg="PS256")) == {("k1", "PS256")}
    assert names(curve_jwk(), algorithms=ALGORITHMS) == {("k2", "ES256")}
    assert names(rsa_jwk(), algorithms=("ES256",)) == set()


@pytest.mark.parametrize(
    "key",
    [
        7,
        {},
        {"kty": "oct", "k": "AAAA", "kid": "k1", "alg": "HS256"},
        rsa_jwk(kid=None),
        rsa_jwk(kid=["k1"]),
        rsa_jwk(kid="k" * 201),
        rsa_jwk(use="enc"),
        rsa_jwk(key_ops=["encrypt"]),
        rsa_jwk(alg="HS256"),
        rsa_jwk(d="AQAB"),
        rsa_jwk(n="!"),
        rsa_jwk(n=None),
        rsa_jwk(rsa.generate_private_key(public_exponent=65537, key_size=1024)),  # noqa: S505
        curve_jwk(crv="P-384"),
        edwards_jwk(crv="X25519"),
    ],
)
def test_what_is_no_key_for_signatures_is_left_out(key: Any) -> None:
    assert names(key, algorithms=ALGORITHMS) == set()
    assert ("k3", "EdDSA") in names(key, edwards_jwk())


def test_of_two_keys_with_one_name_neither_is_taken() -> None:
    assert names(rsa_jwk(), rsa_jwk(OTHER)) == set()


@pytest.mark.parametrize("document", [{}, {"keys": {}}, {"keys": [rsa_jwk()] * (MAX_KEYS + 1)}])
def test_what_is_no_key_set(document: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="list"):
        read_key_set(document, DEFAULT_ALGORITHMS)
