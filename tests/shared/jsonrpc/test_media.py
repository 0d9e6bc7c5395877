"""A body means what its bytes say, whatever is said beside it (rows H14, H19, P16)."""

import json

import pytest

from shared.jsonrpc.media import is_json, means_itself

ODD = [b"utf-7", b"UTF-7", b'"utf-7"', b"utf-16", b"utf-16le", b"utf-32", b"ibm037", b"x", b""]


def test_one_text_is_another_in_utf_7() -> None:
    """Why all this: Express and aiohttp decode by the charset that the sender names."""
    text = b'{"name":"read","x":"1+ACIALAAi-name+ACIAOgAi-send"}'
    assert json.loads(text)["name"] == "read"
    assert json.loads(text.decode("utf-7"))["name"] == "send"


@pytest.mark.parametrize(
    "kind",
    [
        *(b"application/json", b"Application/JSON", b" application/json ", b"application/json;"),
        *(b"application/json; charset=utf-8", b'application/json;charset="UTF-8"'),
        *(b"application/json ; charset=utf-8 ;", b"application/json; "),
    ],
)
def test_json_in_utf_8_is_taken(kind: bytes) -> None:
    assert is_json(kind)
    assert means_itself(kind)


@pytest.mark.parametrize("charset", ODD)
def test_json_in_any_other_charset_is_not(charset: bytes) -> None:
    for kind in (
        b"application/json; charset=" + charset,
        b"application/json;charset=utf-8;charset=" + charset,
        b"application/json; charset=" + charset + b"; charset=utf-8",
        b"application/json; charset*=utf-8''" + charset,
        b"application/json; CharSet = " + charset,
    ):
        assert not is_json(kind)
        assert not means_itself(kind)


@pytest.mark.parametrize(
    "kind", [b"", b"text/plain", b"application/jsonx", b"application/json, text/plain"]
)
def test_what_is_not_json_is_not_taken(kind: bytes) -> None:
    assert not is_json(kind)


@pytest.mark.parametrize(
    "kind", [b"text/event-stream; charset=utf-8", b"text/html; charset=iso-8859-15", b"image/png"]
)
def test_a_charset_that_adds_to_ascii_changes_no_meaning(kind: bytes) -> None:
    assert means_itself(kind)
