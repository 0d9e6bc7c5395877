"""Lines and the hashes that tie them."""

import json
from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.jsonrpc.canonical import canonical
from shared.record.chain import START, BadLineError, line_of, link, split

ODD = ["\r\n", "}{", "|", "=", "\\", "\u2028", "\x85", '"', "\x00", "\x1b[2J", "\n"]


def test_a_line_says_what_ties_it_to_the_one_before() -> None:
    record = b'{"kind":"x"}'
    made = link(START, record)
    assert made == sha256(b"\0" + START + record).digest()
    line = line_of(made, record)
    assert line == b'{"hash":"%b","record":%b}\n' % (made.hex().encode(), record)
    assert split(line) == (made, record)


@given(st.dictionaries(st.text(max_size=9), st.one_of(st.text(), st.sampled_from(ODD)), max_size=5))
def test_one_record_stays_one_line_whatever_is_in_it(facts: dict[str, str]) -> None:
    """A01: neither a name nor a value begins a line, ends a record or adds a member."""
    try:
        record = canonical(facts)
    except ValueError:
        return  # a lone surrogate: no record can hold it
    line = line_of(link(START, record), record)
    assert line.count(b"\n") == 1
    assert json.loads(line)["record"] == facts
    assert split(line)[1] == record


@given(st.binary(max_size=200))
def test_any_bytes_are_a_line_or_none(data: bytes) -> None:
    for text in (data, b'{"hash":"' + data, b'{"hash":"%b","record":{%b}}\n' % (b"a" * 64, data)):
        try:
            made, record = split(text)
        except BadLineError:
            continue
        assert line_of(made, record) == text


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b'{"hash":"%b","record":{}}' % (b"0" * 64),
        b'{"hash":"%b","record":[]}\n' % (b"0" * 64),
        b'{"hash":"%b","record":{}}\n' % (b"A" * 64),
        b'{"hash":"%b","record":{}}\n' % (b"0" * 63),
        b' {"hash":"%b","record":{}}\n' % (b"0" * 64),
    ],
)
def test_there_is_one_way_to_spell_a_line(line: bytes) -> None:
    with pytest.raises(BadLineError):
        split(line)
