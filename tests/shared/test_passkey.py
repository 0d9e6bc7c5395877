"""A passkey's signature counts for one challenge, one origin, and a person who was verified."""

import contextlib
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.keys import BadKeyError, PrivateKey, encode_public
from shared.passkey import (
    EDDSA,
    ES256,
    MAX_CLIENT_DATA,
    Assertion,
    Passkey,
    approver_fingerprint,
    encode,
    read_approver_key,
)
from tests.helpers.passkeys import ORIGIN, PRESENT, VERIFIED, SoftPasskey, client_data_of

CHALLENGE = bytes(range(32))
PIA = SoftPasskey.make()
KINDS = pytest.mark.parametrize("kind", [ES256, EDDSA])


@KINDS
def test_what_a_passkey_signed_counts(kind: str) -> None:
    pia = SoftPasskey.make(kind)
    made = pia.sign(CHALLENGE)
    assert Assertion.parse(made.text()) == made
    assert pia.public.signed(made, CHALLENGE)
    assert not pia.public.signed(made, CHALLENGE[::-1])
    assert not SoftPasskey.make(kind).public.signed(made, CHALLENGE)
    changed = replace(made, signature=made.signature[:-1] + bytes([made.signature[-1] ^ 1]))
    assert not pia.public.signed(changed, CHALLENGE)


def test_a_signature_of_another_algorithm_is_none() -> None:
    other = SoftPasskey.make(EDDSA)
    assert not PIA.public.signed(other.sign(CHALLENGE), CHALLENGE)
    assert not other.public.signed(PIA.sign(CHALLENGE), CHALLENGE)


@pytest.mark.parametrize("origin", ["https://a.example.com:8443", "http://localhost:9000"])
def test_a_key_is_written_and_read_in_one_way(origin: str) -> None:
    key = SoftPasskey.make(origin=origin).public
    assert Passkey.parse(key.text()) == key == read_approver_key(key.text())
    assert len(key.fingerprint) == 16
    plain = PrivateKey.generate().public
    assert read_approver_key(encode_public(plain)) == plain
    assert approver_fingerprint(key) != approver_fingerprint(plain)


@pytest.mark.parametrize(
    "origin",
    [
        *("http://console.example.com", "https://192.0.2.7", "https://a.example.com/", "null"),
        *(
            "https://A.example.com",
            "https://a..b",
            "https://",
            "https://u@a.com",
            "http://localhos",
        ),
        *(
            "https://a.com:0",
            "https://a.com:443443",
            "https://[::1]",
            "https://" + "a." * 99 + "com",
        ),
    ],
)
def test_an_origin_is_one_that_a_passkey_can_be_for(origin: str) -> None:
    with pytest.raises(BadKeyError):
        Passkey.parse(replace(PIA.public, origin=origin).text())


def test_malformed_keys_are_refused() -> None:
    text = PIA.public.text()
    for broken in (
        "passkey:",
        text.replace("es256", "eddsa"),
        text.replace("es256", "rs256"),
        text.replace("passkey", "PASSKEY"),
        f"passkey:es256:{encode(bytes(33))}:{ORIGIN}",
        f"passkey:es256:{encode(bytes(32))}:{ORIGIN}",
        f"passkey:es256:{encode(PIA.public.public)}=:{ORIGIN}",
    ):
        with pytest.raises(BadKeyError):
            Passkey.parse(broken)


@pytest.mark.parametrize("flags", [0, PRESENT, VERIFIED, 5 | 16, 5 | 64, 5 | 128])
def test_a_person_has_to_be_there_and_verified(flags: int) -> None:
    """U17."""
    assert not PIA.public.signed(PIA.sign(CHALLENGE, flags=flags), CHALLENGE)


def test_what_else_an_authenticator_says_means_nothing() -> None:
    assert PIA.public.signed(PIA.sign(CHALLENGE, flags=5 | 8 | 16), CHALLENGE)
    assert PIA.public.signed(PIA.sign(CHALLENGE, flags=5 | 128, more=b"\xa0"), CHALLENGE)
    assert not PIA.public.signed(PIA.sign(CHALLENGE, more=b"\xa0"), CHALLENGE)
    huge = PIA.sign(CHALLENGE, flags=5 | 128, more=bytes(300))
    assert not PIA.public.signed(huge, CHALLENGE)


SAID: list[dict[str, Any]] = [
    {"type": "webauthn.create"},
    {"challenge": encode(CHALLENGE) + "="},
    {"challenge": None},
    {"origin": "https://evil.example.com"},
    {"origin": ORIGIN + ":8443"},
    {"origin": ORIGIN + "/"},
    {"crossOrigin": True},
    {"crossOrigin": 0},
    {"topOrigin": ORIGIN},
    {"more": "x" * MAX_CLIENT_DATA},
]


@pytest.mark.parametrize("said", SAID, ids=str)
def test_a_browser_has_to_say_just_what_is_meant(said: dict[str, Any]) -> None:
    assert not PIA.public.signed(PIA.sign(CHALLENGE, said=said), CHALLENGE)


def test_another_relying_party_is_refused() -> None:
    assert not PIA.public.signed(PIA.sign(CHALLENGE, host="example.com"), CHALLENGE)


GOOD = client_data_of(CHALLENGE)


@pytest.mark.parametrize(
    "data",
    [
        GOOD[:-1] + b',"type":"webauthn.get"}',
        GOOD[:-1] + b',"more":{"a":1,"a":1}}',
        GOOD[:-1] + b',"more":NaN}',
        GOOD + b"x",
        b"\xef\xbb\xbf" + GOOD,
        GOOD[:-1] + b',"more":"\xff"}',
        b"[" + GOOD + b"]",
        b"[" * 1000,
        b"null",
    ],
    ids=range(9),
)
def test_client_data_is_read_strictly(data: bytes) -> None:
    """Duplicate keys, other encodings and other shapes, all of them rightly signed."""
    assert not PIA.public.signed(PIA.sign(CHALLENGE, client_data=data), CHALLENGE)


def test_members_that_browsers_add_are_no_fault() -> None:
    added = {"other_keys_can_be_added_here": "do not compare this with a template"}
    made = PIA.sign(CHALLENGE, said=added)
    assert PIA.public.signed(made, CHALLENGE)


@given(st.binary(max_size=300), st.binary(max_size=1100), st.binary(max_size=80))
def test_verification_is_total(data: bytes, client_data: bytes, signature: bytes) -> None:
    made = Assertion(data, client_data, signature)
    assert not PIA.public.signed(made, CHALLENGE)
    assert not PIA.public.signed(replace(made, client_data=GOOD), CHALLENGE)


@given(st.text() | st.from_regex(r"passkey:(es256|eddsa):[A-Za-z0-9_-]{0,60}:.{0,60}"))
def test_readers_are_total(text: str) -> None:
    with contextlib.suppress(BadKeyError):
        Assertion.parse(text)
    with contextlib.suppress(BadKeyError):
        read_approver_key(text)
