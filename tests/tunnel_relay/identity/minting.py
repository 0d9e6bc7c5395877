"""Makes signed tokens as an issuer would, and as an attacker would."""

import base64
import hashlib
import hmac
import json
from collections.abc import Callable
from typing import Any

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

NOW = 1_800_000_000.0
ISSUER = "https://idp.example.com"
RESOURCE = "https://relay.example.com/t/office/git/mcp"
KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)
OTHER = rsa.generate_private_key(public_exponent=65537, key_size=2048)
CURVE = ec.generate_private_key(ec.SECP256R1())
EDWARDS = ed25519.Ed25519PrivateKey.generate()
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


def rsa_jwk(key: rsa.RSAPrivateKey = KEY, **more: Any) -> dict[str, Any]:
    """Return the public half as it stands in a key set."""
    made: dict[str, Any] = json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(key.public_key()))
    return made | {"kid": "k1", "use": "sig"} | more


def curve_jwk(**more: Any) -> dict[str, Any]:
    """Return the public half of the key on P-256."""
    made: dict[str, Any] = json.loads(jwt.algorithms.ECAlgorithm.to_jwk(CURVE.public_key()))
    return made | {"kid": "k2"} | more


def edwards_jwk(**more: Any) -> dict[str, Any]:
    """Return the public half of the Ed25519 key."""
    made: dict[str, Any] = json.loads(jwt.algorithms.OKPAlgorithm.to_jwk(EDWARDS.public_key()))
    return made | {"kid": "k3"} | more


def key_set() -> dict[str, Any]:
    """Return the issuer's key set."""
    return {"keys": [rsa_jwk(), curve_jwk(), edwards_jwk()]}


def changed(**values: Any) -> dict[str, Any]:
    """Return good claims with some changed; None leaves one out."""
    return {key: value for key, value in (GOOD | values).items() if value is not None}


def signed(headers: dict[str, Any] | None = None, **values: Any) -> str:
    """Sign good claims with the issuer's RSA key."""
    return sign(changed(**values), **(headers or {}))


def sign(claims: dict[str, Any], key: Any = KEY, algorithm: str = "RS256", **headers: Any) -> str:
    """Sign claims as they are."""
    return jwt.encode(claims, key, algorithm, {"kid": "k1", "typ": "at+jwt", **headers})


def part(value: object) -> str:
    """Write one part of a token."""
    text = value if isinstance(value, str) else json.dumps(value)
    return base64.urlsafe_b64encode(text.encode()).rstrip(b"=").decode()


def none_algorithm() -> str:
    """Return a token that says it needs no signature."""
    return f"{part({'alg': 'none', 'kid': 'k1', 'typ': 'at+jwt'})}.{part(GOOD)}.{'A' * 342}"


def symmetric_with_the_public_key() -> str:
    """Return a token whose shared secret is the issuer's public key (CVE-2015-9235)."""
    text = f"{part({'alg': 'HS256', 'kid': 'k1', 'typ': 'JWT'})}.{part(GOOD)}"
    mac = hmac.new(PUBLIC_PEM, text.encode(), hashlib.sha256).digest()
    return f"{text}.{base64.urlsafe_b64encode(mac).rstrip(b'=').decode()}"


def changed_after_signing() -> str:
    """Return a token whose subject was changed."""
    head, _, signature = signed().split(".")
    return f"{head}.{part(GOOD | {'sub': 'admin'})}.{signature}"


def doubled_claim() -> str:
    """Return a token that two readers read differently."""
    text = json.dumps(GOOD)[:-1] + ', "sub": "admin"}'
    unsigned = f"{part({'alg': 'RS256', 'kid': 'k1', 'typ': 'at+jwt'})}.{part(text)}"
    return f"{unsigned}.{signed().split('.')[2]}"


def unsigned(claims: dict[str, Any]) -> str:
    """Return a token with a signature of something else."""
    head, _, signature = signed().split(".")
    return f"{head}.{part(claims)}.{signature}"


Make = Callable[[], str]
TIMED: dict[str, Make] = {
    "expired now": lambda: signed(exp=int(NOW)),
    "expired by 1 s": lambda: signed(exp=int(NOW) - 1),
    "nbf in the future": lambda: signed(nbf=int(NOW) + 1),
    "iat in the future": lambda: signed(iat=int(NOW) + 1),
}
BAD: dict[str, Make] = {
    "alg=none": none_algorithm,
    "HS256 with the public key": symmetric_with_the_public_key,
    "another key": lambda: sign(GOOD, OTHER),
    "changed after signing": changed_after_signing,
    "a claim twice": doubled_claim,
    "aud of another server": lambda: signed(aud="https://relay.example.com/t/office/mail/mcp"),
    "aud nearly": lambda: signed(aud=[RESOURCE + "/"]),
    "no aud": lambda: signed(aud=None),
    "aud of numbers": lambda: signed(aud=[1]),
    "another iss": lambda: signed(iss="https://other.example.com"),
    "iss nearly": lambda: signed(iss=ISSUER + "/"),
    "iss a list": lambda: unsigned(GOOD | {"iss": [ISSUER]}),
    "no sub": lambda: signed(sub=None),
    "empty sub": lambda: signed(sub=""),
    "sub of two lines": lambda: signed(sub="a\nb"),
    "sub with a space after": lambda: signed(sub="u-1 "),
    "long sub": lambda: signed(sub="x" * 201),
    "no agent": lambda: signed(client_id=None),
    "agent no text": lambda: signed(client_id=["desk"]),
    "no exp": lambda: signed(exp=None),
    "exp a word": lambda: signed(exp="tomorrow"),
    "exp true": lambda: signed(exp=True),
    "exp too far": lambda: signed(exp=2**60),
    "no iat": lambda: signed(iat=None),
    "groups a number": lambda: signed(groups=7),
    "kid a path": lambda: signed({"kid": "../../etc/passwd"}),
    "kid SQL": lambda: signed({"kid": "' OR 1=1 --"}),
    "kid of another kind of key": lambda: signed({"kid": "k2"}),
    "kid empty": lambda: signed({"kid": ""}),
    "kid a URL": lambda: signed({"kid": "https://evil.example/key"}),
    "jku": lambda: signed({"jku": "https://evil.example/keys"}),
    "x5u": lambda: signed({"x5u": "https://evil.example/cert"}),
    "x5c": lambda: signed({"x5c": ["AAAA"]}),
    "jwk": lambda: signed({"jwk": rsa_jwk(OTHER)}),
    "crit": lambda: signed({"crit": ["x"], "x": 1}),
    "a DPoP proof": lambda: signed({"typ": "dpop+jwt"}),
    "an ID-JAG": lambda: signed({"typ": "oauth-id-jag+jwt"}),
    "no type": lambda: signed({"typ": None}),
    "cut short": lambda: signed()[:-8],
    "too long": lambda: signed(more="x" * 8192),
    "nothing in it": lambda: "eyJ.eyJ.",
    "deep": lambda: f"{part({'alg': 'RS256', 'kid': 'k1'})}.{part('{' + '[' * 4000)}.{'A' * 86}",
    **TIMED,
}
"""H06: every one of these is refused with 401."""
