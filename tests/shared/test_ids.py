"""Names and identifiers: what is safe to show, to store and to put into a URL."""

import hashlib

import pytest

from shared.ids import (
    JOIN_PREFIX,
    SESSION_PREFIX,
    fingerprint,
    is_name,
    is_token,
    new_id,
    new_token,
    token_digest,
)


@pytest.mark.parametrize("text", ["a", "time", "git-2", "0", "a" * 63])
def test_a_dns_label_is_a_name(text: str) -> None:
    assert is_name(text)


@pytest.mark.parametrize(
    "text", ["", "-a", "a-", "A", "a.b", "a/b", "a b", "a\n", "ü", "a" * 64, "../a", "a;b", "$a"]
)
def test_what_a_shell_a_path_or_a_url_could_read_otherwise_is_no_name_u18(text: str) -> None:
    """U18: names are safe wherever they are pasted."""
    assert not is_name(text)


@pytest.mark.parametrize("prefix", [SESSION_PREFIX, JOIN_PREFIX])
def test_a_token_has_256_random_bits_and_its_shape_is_known(prefix: str) -> None:
    tokens = {new_token(prefix) for _ in range(100)}
    assert len(tokens) == 100
    assert all(is_token(token) and len(token) == 47 for token in tokens)


@pytest.mark.parametrize(
    "text", ["", "mts_", "mts_" + "a" * 42, "mts_" + "a" * 44, "mtx_" + "a" * 43, "mts_" + "+" * 43]
)
def test_other_text_is_no_token(text: str) -> None:
    assert not is_token(text)


def test_a_token_is_stored_as_its_digest_and_shown_as_eight_digits() -> None:
    token = new_token(SESSION_PREFIX)
    digest = token_digest(token)
    assert digest == hashlib.sha256(token.encode()).digest()
    assert fingerprint(digest) == digest.hex()[:8]


def test_an_id_has_128_random_bits() -> None:
    ids = {new_id() for _ in range(100)}
    assert len(ids) == 100
    assert all(len(one) == 32 and set(one) <= set("0123456789abcdef") for one in ids)
