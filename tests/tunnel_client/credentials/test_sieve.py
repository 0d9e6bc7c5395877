"""What is left out for speed would have found nothing, whatever stands around a secret."""

import base64
import secrets

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.tunnel_client.credentials.test_scrub import (
    DOS_LINES,
    LINES,
    PLAIN,
    SECRET,
    SIGNS,
    SPELLINGS,
    signs_escaped,
    wrapped,
)
from tunnel_client.credentials.scrub import MASK, Scrubber

LETTERS = "".join(map(chr, range(33, 127)))
BLANKS = "\n\r\t "
BEFORE = [
    "",
    "%",
    "%4",
    "\\",
    "\\u",
    "\\u00",
    "\\u006",
    "%%",
    "=\r",
    "%\r",
    "&#x",
    "\\\\",
    "\\n\\r",
    "%5",
]


@pytest.mark.parametrize("before", BEFORE)
@pytest.mark.parametrize("spelling", SPELLINGS)
def test_what_stands_before_a_secret_hides_nothing(before: str, spelling: str) -> None:
    cut = PLAIN[:8] + "%4\n" + PLAIN[8:]
    for secret in (PLAIN, "u005cnr_" + PLAIN, "1%4cnr_" + PLAIN, LINES, DOS_LINES, cut):
        echoed = (before + SPELLINGS[spelling](secret) + " ").encode()
        assert MASK in Scrubber([secret]).clean(echoed)


@given(st.data())
@settings(max_examples=60, deadline=None)
def test_the_sieve_lets_no_spelling_through(data: st.DataObject) -> None:
    single = st.text(LETTERS, min_size=16, max_size=40)
    several = st.text(LETTERS + BLANKS * 4, min_size=16, max_size=40)
    secret = data.draw(single | several | st.sampled_from([PLAIN, SECRET, LINES, SIGNS]))
    scrubber, slow = Scrubber([secret]), Scrubber([secret])
    slow._sieve = None
    in_base64 = base64.b64encode(data.draw(st.binary(max_size=3)) + secret.encode()).decode()
    ends = data.draw(st.sampled_from(["\n", "\\n", "\\\\r\\\\n"]))
    lines = wrapped(in_base64.encode(), data.draw(st.integers(24, 40)), ends.encode()).decode()
    made = data.draw(st.sampled_from([make(secret) for make in SPELLINGS.values()] + [lines]))
    mixed = "".join(
        data.draw(st.sampled_from([char, char, f"%{ord(char):02x}", f"\\u{ord(char):04X}"]))
        for char in secret
    )
    spelled = data.draw(st.sampled_from([made, mixed]))
    before = data.draw(st.sampled_from(BEFORE) | st.text(LETTERS, max_size=6))
    text = (before + spelled + data.draw(st.text(LETTERS, max_size=6))).encode()
    found = slow.places(text)
    assert scrubber.places(text) == found
    assert scrubber._sieve is None or not found or scrubber._sieve.may_hold(text)


@given(st.data())
@settings(max_examples=60, deadline=None)
def test_the_sieve_lets_no_base64_through_whatever_its_signs_are_escaped_as(
    data: st.DataObject,
) -> None:
    secret = data.draw(st.text(LETTERS, min_size=16, max_size=40) | st.just(SIGNS))
    scrubber, slow = Scrubber([secret]), Scrubber([secret])
    slow._sieve = None
    whole = base64.b64encode(data.draw(st.binary(max_size=3)) + secret.encode() + b"!")
    text = data.draw(st.sampled_from(BEFORE)).encode()
    text += data.draw(st.sampled_from(signs_escaped(whole)))
    found = slow.places(text)
    assert found
    assert scrubber.places(text) == found
    assert scrubber._sieve is None or scrubber._sieve.may_hold(text)


@pytest.mark.parametrize("secret", [PLAIN, "x7#Kp!q9$Lm2@Vz5Tb8", secrets.token_urlsafe(32)])
def test_a_random_secret_has_a_sieve(secret: str) -> None:
    """Else every text of its upstream is looked at closely."""
    sieve = Scrubber([secret])._sieve
    assert sieve is not None
    assert not sieve.may_hold(b'{"a": "100 % of \\u00e9\\n"}' * 100)
