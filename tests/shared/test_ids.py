"""Names and identifiers: what is safe to show, to store and to put into a URL."""

import hashlib
from base64 import urlsafe_b64decode
from itertools import pairwise

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


def test_s01_tokens_have_nothing_in_common_that_could_be_guessed() -> None:
    """100,000 tokens: no bit is more often set than not, none is close to another or to its age."""
    made = [new_token(SESSION_PREFIX) for _ in range(100_000)]
    values = [urlsafe_b64decode(token.removeprefix(SESSION_PREFIX) + "=") for token in made]
    for byte in range(32):
        for bit in range(8):
            share = sum(value[byte] >> bit & 1 for value in values) / len(values)
            assert abs(share - 0.5) < 0.01  # six times what chance makes of it
    ordered = sorted(values)
    assert all(one[:7] != other[:7] for one, other in pairwise(ordered))
    rising = sum(one < other for one, other in pairwise(values)) / len(values)
    assert abs(rising - 0.5) < 0.01


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
