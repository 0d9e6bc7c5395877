"""P28: what an approver reads is all there is, and nothing in it is hidden."""

import json
import unicodedata
from itertools import chain, groupby

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.jsonrpc.canonical import canonical
from tunnel_relay.approvals import shown
from tunnel_relay.approvals.shown import (
    GOES_ON,
    PART,
    Line,
    Piece,
    in_one_line,
    is_hidden,
    laid_out,
    lines,
    parts,
    pieces,
    visible,
)

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
    seen = "".join(line.text for line in lines(text))
    assert canonical(json.loads(seen)) == text.encode()
    assert not any(map(is_hidden, seen))
    assert all(unicodedata.category(each) != "Cf" for each in seen)


def test_nothing_is_left_out_of_many_fields_or_a_long_text() -> None:
    many = {f"field{number:03}": number for number in range(500)} | {"bcc": "eve@example.com"}
    listed = lines(canonical({"arguments": many}).decode())
    assert len(listed) == 501 + 4
    assert listed[1].note == "501 members"
    assert any(line.text == '"bcc": "eve@example.com",' for line in listed)
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
    whole = laid_out('{"a":"\u200b"}')
    assert (whole.bytes, len(whole.lines), whole.hidden) == (11, 3, 1)
    assert in_one_line('{"a":"\u200b"}').lines[0].text == '{"a":"\\u200b"}'
    assert visible("a\nb\u202e") == "a\\u000ab\\u202e"
    assert lines("no json\n")[0].note == "not JSON"
    assert [line.text for line in lines('{"a":[],"b":{}}')] == ["{", '"a": [],', '"b": {}', "}"]


def one_by_one(text: str) -> tuple[Piece, ...]:
    """Return the pieces of a text as a reader of `shown` would make them by hand."""
    found = []
    for hidden, run in groupby(text, is_hidden):
        each = [json.dumps(character)[1:-1] if hidden else character for character in run]
        found.append(Piece("".join(each).replace("\x7f", "\\u007f"), hidden))
    return tuple(found)


@given(st.text(st.sampled_from(["a", " ", "~", "\\", "\u00e9", "\u65e5", *DECEPTIVE.values()])))
def test_a_text_in_runs_is_the_same_as_character_by_character(text: str) -> None:
    assert pieces(text) == one_by_one(text)
    assert visible(text) == "".join(piece.text for piece in one_by_one(text))
    assert in_one_line(text).hidden == sum(map(is_hidden, text))


@pytest.mark.parametrize("text", ["x" * 20_000, "\u65e5" * 20_000, "x\u200b" * 10_000])
def test_each_character_is_written_once(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    """Of a text that grows by a character at a time each is copied again for all that follow."""
    copied: list[int] = []

    def made(text: str, hidden: bool) -> Piece:
        copied.append(len(text))
        return Piece(text, hidden)

    monkeypatch.setattr(shown, "Piece", made)
    assert sum(copied) == 0 < len(pieces(text))
    assert sum(copied) == len(visible(text))


@given(st.lists(st.integers(1, 9), max_size=30))
def test_parts_hold_all_of_it_and_none_too_much(lengths: list[int]) -> None:
    marks = [tuple(Piece(str(at), bool(at % 2)) for at in range(length)) for length in lengths]
    whole = [Line(number, mark, "a note") for number, mark in enumerate(marks)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(shown, "PART", 4)
        cut = parts(whole)
    assert all(sum(len(line.pieces) for line in part) <= 4 for part in cut)
    again: list[Line] = []
    for line in chain.from_iterable(cut):
        if again and again[-1].note == GOES_ON:
            line = line._replace(pieces=again.pop().pieces + line.pieces)
        again.append(line)
    assert again == whole


def test_what_is_of_ordinary_size_is_one_part() -> None:
    whole = lines(json.dumps(list(range(PART - 2))))
    assert parts(whole) == [whole]
    assert parts([]) == [[]]
    assert len(parts(lines(json.dumps(list(range(PART - 1)))))) == 2
