"""What may be written into names and texts."""

import shlex
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunnel_relay.admin.checks import check_name, check_text, host_text, is_instance, split_server
from tunnel_relay.errors import Code, RelayError


@given(st.text(max_size=70))
def test_an_accepted_name_means_nothing_to_a_shell(name: str) -> None:
    with suppress(RelayError):
        assert shlex.quote(check_name(name, "a tunnel")) == name


@given(st.text(max_size=250))
def test_an_accepted_text_is_one_line(text: str) -> None:
    with suppress(RelayError):
        found = check_text(text, "the user")
        assert len(found.splitlines()) == 1
        assert "\x1b" not in found


def test_refusals_have_their_codes() -> None:
    with pytest.raises(RelayError) as caught:
        check_name("a b", "a tunnel")
    assert caught.value.code is Code.BAD_NAME
    with pytest.raises(RelayError) as caught:
        check_text("a\nb", "the user")
    assert caught.value.code is Code.BAD_REQUEST


def test_a_server_is_a_tunnel_and_an_upstream() -> None:
    assert split_server("office/git") == ("office", "git")
    for text in ("office", "/git", "office/", "a/b/c", "", "../x"):
        with pytest.raises(RelayError):
            split_server(text)


@given(st.dictionaries(st.sampled_from(["name", "platform", "version"]), st.text(max_size=300)))
def test_host_text_is_short_printable_ascii(host: dict[str, str]) -> None:
    text = host_text(host)
    assert text.isascii()
    assert text == "" or text.isprintable()
    assert len(text) <= 182


def test_an_instance_is_32_hex_digits() -> None:
    assert is_instance("0123456789abcdef" * 2)
    for text in ("", "0" * 31, "0" * 33, "G" * 32, "A" * 32, "0" * 32 + "\n"):
        assert not is_instance(text)
