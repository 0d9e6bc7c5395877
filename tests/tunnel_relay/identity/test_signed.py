"""A signed JWT is read strictly, and only a key of the issuer verifies it."""

import pytest

from tests.tunnel_relay.identity.minting import (
    CURVE,
    EDWARDS,
    GOOD,
    changed_after_signing,
    doubled_claim,
    key_set,
    part,
    sign,
    signed,
)
from tunnel_relay.identity.key_sets import read_key_set
from tunnel_relay.identity.signed import (
    MAX_TOKEN,
    TokenError,
    check_signature,
    looks_signed,
    read,
)
from tunnel_relay.settings_issuers import DEFAULT_ALGORITHMS

KEYS = read_key_set(key_set(), DEFAULT_ALGORITHMS)


@pytest.mark.parametrize(
    ("token", "name"),
    [
        (signed(), ("k1", "RS256")),
        (sign(GOOD, algorithm="PS256"), ("k1", "PS256")),
        (sign(GOOD, CURVE, "ES256", kid="k2"), ("k2", "ES256")),
        (sign(GOOD, EDWARDS, "EdDSA", kid="k3"), ("k3", "EdDSA")),
    ],
    ids=["RS256", "PS256", "ES256", "EdDSA"],
)
def test_a_token_is_verified_by_the_key_it_names(token: str, name: tuple[str, str]) -> None:
    said = read(token)
    assert (said.kid, said.algorithm) == name
    assert (said.kind, said.claims["sub"]) == ("at+jwt", "u-1")
    check_signature(said, KEYS[name])


def test_no_other_key_verifies_it() -> None:
    for token in (changed_after_signing(), signed()):
        with pytest.raises(TokenError):
            check_signature(read(token), KEYS["k2", "ES256"])
    with pytest.raises(TokenError, match="signature"):
        check_signature(read(changed_after_signing()), KEYS["k1", "RS256"])


def test_a_key_for_another_algorithm_does_not_verify_it() -> None:
    with pytest.raises(TokenError):
        check_signature(read(signed()), KEYS["k1", "PS256"])


@pytest.mark.parametrize(
    "token",
    [
        "",
        "mts_" + "A" * 43,
        "a.b.c",
        "eyJ.eyJ.",
        signed() + ".x",
        signed().replace(".", "..", 1),
        signed() + "=",
        "é" + signed(),
        signed(more="x" * MAX_TOKEN),
        doubled_claim(),
        f"{part([1])}.{part(GOOD)}.{'A' * 86}",
        f"{part({'alg': 'RS256', 'kid': 'k1'})}.{part('{' + '[' * 500)}.{'A' * 86}",
        f"{part({'alg': ['RS256'], 'kid': 'k1'})}.{part(GOOD)}.{'A' * 86}",
        f"{part({'alg': 'RS256', 'kid': {'a': 1}})}.{part(GOOD)}.{'A' * 86}",
        f"{part({'alg': 'RS256', 'kid': 'k1', 'typ': 7})}.{part(GOOD)}.{'A' * 86}",
        f"{part({'alg': 'RS256', 'kid': 'k' * 201})}.{part(GOOD)}.{'A' * 86}",
        f"{part({'alg': 'RS256', 'kid': 'k1', 'b64': False})}.{part(GOOD)}.{'A' * 86}",
    ],
)
def test_what_is_not_read(token: str) -> None:
    with pytest.raises(TokenError) as caught:
        read(token)
    assert caught.value.lasting
    assert token[:20] not in str(caught.value) or not token


def test_what_looks_signed() -> None:
    assert looks_signed(signed())
    assert not looks_signed("eyJ" * 4000)
    assert not looks_signed(signed() + "\n")
