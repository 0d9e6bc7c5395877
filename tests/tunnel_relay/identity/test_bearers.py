"""Which JWTs open something: of our issuer, by its key, for this server, now (H06)."""

import base64
import hashlib
import hmac
import json
from collections.abc import Callable
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from tunnel_relay.identity.bearers import (
    BearerError,
    IssuerKeys,
    NoKeyError,
    judge,
    looks_like_jwt,
)
from tunnel_relay.settings import Issuer

NOW = 1_800_000_000.0
ISSUER = "https://idp.example.com"
RESOURCE = "https://relay.example.com/t/office/git/mcp"
KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)
CURVE = ec.generate_private_key(ec.SECP256R1())
OTHER = rsa.generate_private_key(public_exponent=65537, key_size=2048)
PUBLIC_PEM = KEY.public_key().public_bytes(
    serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
)
GOOD: dict[str, Any] = {
    "iss": ISSUER,
    "sub": "u-1",
    "aud": RESOURCE,
    "client_id": "desk",
    "iat": int(NOW) - 10,
    "exp": int(NOW) + 600,
    "groups": ["ops", "dev"],
    "name": "Ada",
    "email": "a@example.com",
}


def issuers(**settings: Any) -> dict[str, IssuerKeys]:
    known = IssuerKeys(Issuer(url=ISSUER, **settings))
    rsa_key = json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(KEY.public_key()))
    curve = json.loads(jwt.algorithms.ECAlgorithm.to_jwk(CURVE.public_key()))
    listed = [rsa_key | {"kid": "k1", "use": "sig"}, curve | {"kid": "k2"}, {"kty": "oct"}, 7]
    assert known.replace({"keys": listed}) == 2
    return {ISSUER: known}


def signed(headers: dict[str, Any] | None = None, **changed: Any) -> str:
    claims = {key: value for key, value in (GOOD | changed).items() if value is not None}
    return jwt.encode(claims, KEY, "RS256", {"kid": "k1", "typ": "at+jwt", **(headers or {})})


def part(value: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()


def test_a_good_token_says_who_with_what_and_until_when() -> None:
    claims = judge(signed(), issuers(), RESOURCE, NOW)
    assert claims.user == f"{ISSUER}#u-1"
    assert (claims.agent, claims.groups, claims.name) == ("desk", ("dev", "ops"), "Ada")
    assert (claims.issued, claims.expires) == (NOW - 10, NOW + 600)
    azp = judge(signed(client_id=None, azp="other"), issuers(), RESOURCE, NOW)
    assert azp.agent == "other"
    curve = jwt.encode(GOOD, CURVE, "ES256", {"kid": "k2"})
    assert judge(curve, issuers(), RESOURCE, NOW).subject == "u-1"


def none_algorithm() -> str:
    return f"{part({'alg': 'none', 'kid': 'k1'})}.{part(GOOD)}."


def symmetric_with_the_public_key() -> str:
    text = f"{part({'alg': 'HS256', 'kid': 'k1', 'typ': 'JWT'})}.{part(GOOD)}"
    mac = hmac.new(PUBLIC_PEM, text.encode(), hashlib.sha256).digest()
    return f"{text}.{base64.urlsafe_b64encode(mac).rstrip(b'=').decode()}"


def another_key() -> str:
    return jwt.encode(GOOD, OTHER, "RS256", {"kid": "k1"})


def changed_after_signing() -> str:
    head, _, signature = signed().split(".")
    return f"{head}.{part(GOOD | {'sub': 'admin'})}.{signature}"


BAD: list[Callable[[], str]] = [
    none_algorithm,
    symmetric_with_the_public_key,
    another_key,
    changed_after_signing,
    lambda: signed(aud="https://relay.example.com/t/office/mail/mcp"),
    lambda: signed(aud=[RESOURCE + "/"]),
    lambda: signed(aud=None),
    lambda: signed(iss="https://other.example.com"),
    lambda: signed(iss=ISSUER + "/"),
    lambda: f"{part({'alg': 'RS256', 'kid': 'k1'})}.{part(GOOD | {'iss': ['x']})}.AAAA",
    lambda: signed(sub=None),
    lambda: signed(sub=""),
    lambda: signed(sub="a\nb"),
    lambda: signed(sub="x" * 201),
    lambda: signed(client_id=None),
    lambda: signed(exp=None),
    lambda: signed(exp=int(NOW)),
    lambda: signed(exp=int(NOW) - 1),
    lambda: signed(exp="tomorrow"),
    lambda: signed(exp=2**60),
    lambda: signed(nbf=int(NOW) + 1),
    lambda: signed({"kid": "../../etc/passwd"}),
    lambda: signed({"kid": "' OR 1=1 --"}),
    lambda: signed({"kid": "k2"}),
    lambda: signed({"kid": ""}),
    lambda: signed({"jku": "https://evil.example/keys"}),
    lambda: signed({"x5u": "https://evil.example/cert"}),
    lambda: signed({"jwk": {"kty": "RSA"}}),
    lambda: signed({"crit": ["x"], "x": 1}),
    lambda: signed({"typ": "dpop+jwt"}),
    lambda: "ey.ey.ey",
    lambda: "",
    lambda: signed()[:-8],
]


@pytest.mark.parametrize("make", BAD)
def test_h06_what_is_not_good_opens_nothing(make: Callable[[], str]) -> None:
    with pytest.raises(BearerError):
        judge(make(), issuers(), RESOURCE, NOW)


def test_a_weaker_algorithm_than_configured_is_refused() -> None:
    with pytest.raises(BearerError):
        judge(signed(), issuers(algorithms=("ES256",)), RESOURCE, NOW)


def test_the_leeway_is_what_is_configured_and_no_more() -> None:
    late = signed(exp=int(NOW) - 30)
    assert judge(late, issuers(leeway=31), RESOURCE, NOW)
    with pytest.raises(BearerError):
        judge(late, issuers(leeway=30), RESOURCE, NOW)


def test_an_audience_of_its_own_takes_the_place_of_the_url() -> None:
    assert judge(signed(aud="mcp"), issuers(audience="mcp"), RESOURCE, NOW)
    with pytest.raises(BearerError):
        judge(signed(), issuers(audience="mcp"), RESOURCE, NOW)


def test_a_key_that_vanished_or_never_came_is_told_apart_from_a_bad_token() -> None:
    known = issuers()
    known[ISSUER].replace({"keys": []})
    with pytest.raises(NoKeyError) as vanished:
        judge(signed(), known, RESOURCE, NOW)
    assert vanished.value.fetched
    with pytest.raises(NoKeyError) as never:
        judge(signed(), {ISSUER: IssuerKeys(Issuer(url=ISSUER))}, RESOURCE, NOW)
    assert not never.value.fetched


def test_groups_that_are_no_list_of_names_are_none() -> None:
    for groups in ("ops", [1], [["ops"]], {"a": 1}, None):
        assert judge(signed(groups=groups), issuers(), RESOURCE, NOW).groups == ()


@pytest.mark.parametrize("token", ["mts_" + "A" * 43, "ey" * 5000, "ey.a", "a.b.c", ""])
def test_what_does_not_look_like_a_token_of_an_issuer(token: str) -> None:
    assert not looks_like_jwt(token)
