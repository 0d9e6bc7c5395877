import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretBytes

from shared.ids import new_id
from tunnel_relay.gateway.mcp_sessions import ID_CHARACTERS, McpSessions

PLACE = "lab/files"
SESSION = new_id()
INSTANCE = new_id()
MAKER = McpSessions(SecretBytes(b"k" * 32))


def mint() -> bytes:
    return MAKER.mint(SESSION, PLACE, INSTANCE).encode()


def test_an_id_tells_its_own_session_who_holds_it() -> None:
    made = mint()
    assert len(made) == ID_CHARACTERS
    assert MAKER.instance(made, SESSION, PLACE) == INSTANCE


def test_no_two_ids_are_alike() -> None:
    assert len({mint() for _ in range(100)}) == 100


def test_an_id_is_worth_nothing_elsewhere() -> None:
    made = mint()
    assert MAKER.instance(made, new_id(), PLACE) is None
    assert MAKER.instance(made, SESSION, "lab/other") is None
    assert McpSessions(SecretBytes(b"j" * 32)).instance(made, SESSION, PLACE) is None


def test_a_session_and_a_place_cannot_be_shifted_into_each_other() -> None:
    made = MAKER.mint("ab", "c/d", INSTANCE).encode()
    assert MAKER.instance(made, "a", "bc/d") is None


def test_a_changed_bit_anywhere_makes_it_unknown() -> None:
    raw = bytearray(base64.urlsafe_b64decode(mint()))
    for bit in range(len(raw) * 8):
        raw[bit // 8] ^= 1 << bit % 8
        assert MAKER.instance(base64.urlsafe_b64encode(raw), SESSION, PLACE) is None
        raw[bit // 8] ^= 1 << bit % 8


@given(st.binary(max_size=80))
def test_any_other_bytes_are_unknown(sent: bytes) -> None:
    assert MAKER.instance(sent, SESSION, PLACE) is None


@given(st.binary(min_size=ID_CHARACTERS, max_size=ID_CHARACTERS))
def test_any_other_bytes_of_the_right_length_are_unknown(sent: bytes) -> None:
    assert MAKER.instance(sent, SESSION, PLACE) is None


def test_a_short_key_is_refused() -> None:
    with pytest.raises(ValueError, match="shorter than 32"):
        McpSessions(SecretBytes(b"k" * 31))
