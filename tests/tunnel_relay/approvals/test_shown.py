"""P28: what an approver reads is all there is, and nothing in it is hidden."""

import json
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.jsonrpc.canonical import canonical
from tunnel_relay.approvals.shown import facts, is_hidden, lines, visible

DECEPTIVE = {
    "right-to-left override": "\u202e",
    "isolate": "\u2066",
    "zero width space": "\u200b",
    "zero width joiner": "\u200d",
    "soft hyphen": "\u00ad",
    "byte order mark": "\ufeff",
    "tag letter": "\U000e0061",
    "variation selector": "\ufe0f",
    "supplementary variation selector": "\U000e0101",
    "line separator": "\u2028",
    "no-break space": "\u00a0",
    "ideographic space": "\u3000",
    "hangul filler": "\u3164",
    "braille blank": "\u2800",
    "grapheme joiner": "\u034f",
    "delete": "\x7f",
    "next line": "\x85",
    "private use": "\ue000",
    "unassigned": "\u0378",
}

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


@pytest.mark.parametrize("character", DECEPTIVE.values(), ids=DECEPTIVE)
def test_what_cannot_be_seen_is_written_out(character: str) -> None:
    (line,) = lines(json.dumps(f"a{character}b", ensure_ascii=False))
    assert character not in line.text
    assert line.text.isascii()
    assert [piece.hidden for piece in line.pieces] == [False, True, False]
    assert line.note == "3 characters, 1 not visible"
    assert json.loads(line.text) == f"a{character}b"


def test_a_text_cannot_imitate_an_escape() -> None:
    (line,) = lines(json.dumps("\\u202e"))
    assert line.text == '"\\\\u202e"'
    assert not any(piece.hidden for piece in line.pieces)


@given(VALUES)
def test_what_is_shown_means_what_is_approved(value: object) -> None:
    try:
        text = canonical(value).decode()
    except ValueError:
        return
    shown = "".join(line.text for line in lines(text))
    assert canonical(json.loads(shown)) == text.encode()
    assert not any(map(is_hidden, shown))
    assert all(unicodedata.category(each) != "Cf" for each in shown)


def test_nothing_is_left_out_of_many_fields_or_a_long_text() -> None:
    many = {f"field{number:03}": number for number in range(500)} | {"bcc": "eve@example.com"}
    shown = lines(canonical({"arguments": many}).decode())
    assert len(shown) == 501 + 4
    assert shown[1].note == "501 members"
    assert any(line.text == '"bcc": "eve@example.com",' for line in shown)
    long = "x" * 100_000 + " and to eve"
    (line,) = lines(json.dumps(long))
    assert line.text.endswith('and to eve"')
    assert line.note == "100011 characters"


def test_letters_of_two_alphabets_in_one_word_are_told() -> None:
    (mixed,) = lines(json.dumps("p\u0430ypal.example", ensure_ascii=False))
    assert mixed.note == "letters of more than one alphabet in a word"
    for fine in ("\u043f\u0440\u0438\u0432\u0435\u0442 hello", "na\u00efve", "\u65e5\u672c go"):
        (line,) = lines(json.dumps(fine, ensure_ascii=False))
        assert line.note == ""


def test_digits_are_shown_as_they_count() -> None:
    text = canonical({"n": 2**70 + 1}).decode()
    assert [line.text for line in lines(text)] == ["{", f'"n": {2**70 + 1}', "}"]


def test_how_much_there_is_to_read() -> None:
    assert facts('{"a":"\u200b"}') == {"bytes": 11, "lines": 3, "hidden": 1}
    assert visible("a\nb\u202e") == "a\\u000ab\\u202e"
    assert lines("no json\n")[0].note == "not JSON"
    assert [line.text for line in lines('{"a":[],"b":{}}')] == ["{", '"a": [],', '"b": {}', "}"]
