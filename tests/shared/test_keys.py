"""Ed25519 keys: they sign, they are written and read, and they never show themselves."""

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from shared.keys import (
    BadKeyError,
    PrivateKey,
    decode_public,
    encode_public,
    key_fingerprint,
    verify,
)

KEY = PrivateKey.generate()
MESSAGE = b"message"
SIGNATURE = KEY.sign(MESSAGE)


def test_a_signature_holds_for_its_key_and_message_only() -> None:
    assert verify(KEY.public, SIGNATURE, MESSAGE)
    assert not verify(KEY.public, SIGNATURE, b"other")
    assert not verify(PrivateKey.generate().public, SIGNATURE, MESSAGE)


@given(st.binary(max_size=80), st.binary(max_size=80), st.binary(max_size=80))
def test_any_bytes_are_verified_without_an_error(
    public: bytes, signature: bytes, message: bytes
) -> None:
    assert not verify(public, signature, message)


def test_a_key_survives_its_file() -> None:
    again = PrivateKey.from_pem(KEY.to_pem())
    assert again.public == KEY.public
    assert verify(KEY.public, again.sign(MESSAGE), MESSAGE)


def rsa_pem() -> str:
    key = generate_private_key(65537, 2048)
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    ).decode()


def test_a_key_of_another_kind_is_refused() -> None:
    with pytest.raises(BadKeyError):
        PrivateKey.from_pem(SecretStr(rsa_pem()))


@pytest.mark.parametrize("text", ["", "secret canary", "-----BEGIN PRIVATE KEY-----"])
def test_text_that_is_no_key_is_refused_and_not_repeated(text: str) -> None:
    with pytest.raises(BadKeyError) as caught:
        PrivateKey.from_pem(SecretStr(text))
    assert "canary" not in str(caught.value)


def test_a_private_key_never_shows_itself() -> None:
    assert repr(KEY) == f"PrivateKey({key_fingerprint(KEY.public)})"
    assert "PRIVATE" not in repr(KEY.to_pem())


def test_a_public_key_is_written_as_43_url_safe_characters() -> None:
    text = encode_public(KEY.public)
    assert len(text) == 43
    assert decode_public(text) == KEY.public


@pytest.mark.parametrize(
    "text", ["", "A" * 42, "A" * 44, "A" * 42 + "B", "+" * 43, "A" * 43 + "=", "ü" * 43, " " * 43]
)
def test_a_public_key_has_one_spelling(text: str) -> None:
    with pytest.raises(BadKeyError):
        decode_public(text)
