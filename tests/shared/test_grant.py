"""A grant reads back as signed, and nothing else is believed (T31)."""

import contextlib
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared import grant
from shared.errors import AuthError, CloseCode, PeerError, TooBigError
from shared.grant import Grant
from shared.jsonrpc.canonical import canonical
from shared.keys import PrivateKey
from shared.policy.classes import ToolClass
from tests.shared.wire.golden import GRANT, RELAY_KEY

WHO = st.text(st.characters(exclude_categories=["C", "Z"]), min_size=1, max_size=40)
LABELS = st.from_regex(r"\A[a-z0-9]([a-z0-9-]{0,10}[a-z0-9])?\Z")
IDS = st.from_regex(r"\A[0-9a-f]{32}\Z")
GRANTS = st.builds(
    Grant,
    session=IDS,
    user=WHO,
    agent=WHO,
    tunnel=LABELS,
    upstream=LABELS,
    groups=st.lists(WHO, max_size=5).map(tuple),
    classes=st.lists(st.sampled_from(ToolClass), unique=True).map(tuple),
    issued=st.floats(0, 2e9),
    expires=st.floats(2.1e9, 4e9),
    instance=IDS,
    epoch=st.integers(0, 2**53 - 1),
)
VALUES = {
    **{name: getattr(GRANT, name) for name in GRANT.__slots__},
}


def signed(value: Any, domain: bytes = b"mcp-tunnel grant v1\n") -> bytes:
    body = value if isinstance(value, bytes) else canonical(value)
    return RELAY_KEY.sign(domain + body) + body


@given(GRANTS)
def test_a_grant_reads_back_as_signed(made: Grant) -> None:
    assert grant.decode(grant.encode(made, RELAY_KEY), RELAY_KEY.public) == made


def test_a_grant_of_another_key_is_refused_t31() -> None:
    """T31: forged."""
    payload = grant.encode(GRANT, PrivateKey.generate())
    with pytest.raises(AuthError) as caught:
        grant.decode(payload, RELAY_KEY.public)
    assert caught.value.close_code is CloseCode.POLICY


def test_no_byte_of_a_grant_can_be_changed_t31() -> None:
    """T31: re-targeted by changing what was signed."""
    payload = grant.encode(GRANT, RELAY_KEY)
    for at in range(len(payload)):
        changed = bytearray(payload)
        changed[at] ^= 1
        with pytest.raises(AuthError):
            grant.decode(bytes(changed), RELAY_KEY.public)


def test_what_the_key_signed_for_another_purpose_is_no_grant_t31() -> None:
    """T31: the domain keeps a signature of the handshake, or of anything, from being a grant."""
    for domain in (b"", b"mcp-tunnel.v1 relay proof\0", b"mcp-tunnel grant v2\n"):
        with pytest.raises(AuthError):
            grant.decode(signed(VALUES, domain), RELAY_KEY.public)
    assert grant.decode(signed(VALUES), RELAY_KEY.public) == GRANT


@pytest.mark.parametrize(
    "changed",
    [
        {"session": "x" * 32},
        {"session": GRANT.session.upper()},
        {"user": ""},
        {"user": "a\nb"},
        {"user": "x" * 513},
        {"agent": 7},
        {"tunnel": "Office"},
        {"upstream": "http://10.0.0.1/"},
        {"groups": "staff"},
        {"groups": [""]},
        {"groups": ["a\x1b[2J"]},
        {"classes": ["root"]},
        {"classes": [["read"]]},
        {"classes": None},
        {"issued": "1"},
        {"issued": True},
        {"issued": None},
        {"issued": -1},
        {"expires": GRANT.issued},
        {"expires": 2**53},
        {"epoch": 7.5},
        {"epoch": "7"},
        {"instance": "0" * 31},
        {"url": "http://10.0.0.1/"},
    ],
)
def test_a_signed_grant_that_says_nonsense_is_refused(changed: dict[str, Any]) -> None:
    with pytest.raises(PeerError):
        grant.decode(signed(VALUES | changed), RELAY_KEY.public)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"null",
        b"{}",
        b"\xff",
        canonical(VALUES).replace(b",", b", "),
        canonical(VALUES).replace(b'{"agent"', b'{"agent":"x","agent"'),
        canonical(VALUES).replace(b"1700043200", b"1700043200.0"),
        canonical({key: value for key, value in VALUES.items() if key != "groups"}),
        b"[" * 10_000,
    ],
)
def test_a_grant_has_one_spelling(body: bytes) -> None:
    with pytest.raises(PeerError):
        grant.decode(signed(body), RELAY_KEY.public)


@given(st.binary(max_size=300))
def test_any_bytes_are_a_grant_or_a_documented_error(data: bytes) -> None:
    with contextlib.suppress(PeerError):
        grant.decode(data, RELAY_KEY.public)
    with contextlib.suppress(PeerError):
        grant.decode(signed(data), RELAY_KEY.public)


def test_a_user_in_too_many_groups_gets_no_grant_rather_than_a_shorter_one() -> None:
    many = replace(GRANT, groups=tuple(f"group-{at}" for at in range(2000)))
    with pytest.raises(TooBigError):
        grant.encode(many, RELAY_KEY)
    with pytest.raises(TooBigError):
        grant.decode(signed(b" " * grant.MAX_BYTES), RELAY_KEY.public)


def test_what_no_client_would_take_is_not_signed() -> None:
    with pytest.raises(PeerError):
        grant.encode(replace(GRANT, groups=("a\nb",)), RELAY_KEY)
