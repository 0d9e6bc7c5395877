import json
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.jsonrpc.canonical import canonical, digest, exact, written

VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@pytest.mark.parametrize(
    "spellings",
    [
        [b"100", b"1e2", b"100.0", b"1.0e+2", b"10000e-2"],
        [b"0", b"-0", b"0.0", b"-0.0", b"0e5"],
        [b"-1.5", b"-15e-1", b"-1.50"],
        [b'{"a":1,"b":2}', b'{ "b" : 2,\n"a":1 }', b'{"\\u0062":2,"a":1.0}'],
        [b'"\\u00e9"', '"é"'.encode(), b'"\\u00E9"'],
        [b'"/"', b'"\\/"'],
    ],
)
def test_one_meaning_has_one_digest(spellings: list[bytes]) -> None:
    assert len({digest(exact(one)) for one in spellings}) == 1


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (str(2**70).encode(), str(2**70 + 1).encode()),
        (b"0.1", b"0.1000000000000000055"),
        (b"1e300", b"1e299"),
        (b"5000", b'"5000"'),
        (b"1", b"true"),
        (b"0", b"false"),
        (b"[]", b"{}"),
        (b"null", b'"null"'),
        (b'"\\u00e9"', b'"e\\u0301"'),
        (b"[1,2]", b"[2,1]"),
        (b"[12]", b"[1,2]"),
    ],
)
def test_two_meanings_have_two_digests(one: bytes, other: bytes) -> None:
    assert digest(exact(one)) != digest(exact(other))


def test_members_are_in_the_order_of_utf_16() -> None:
    # RFC 8785 section 3.2.3: U+1F600 is D83D DE00 in UTF-16 and so goes before U+FB33.
    assert canonical({"\ufb33": 1, "\U0001f600": 2}) == '{"\U0001f600":2,"\ufb33":1}'.encode()


def test_a_huge_number_is_not_written_out() -> None:
    assert canonical(exact(b"1e300")) == b"1e300"
    assert len(canonical(Decimal("1e100000"))) < 20


@pytest.mark.parametrize("value", [float("nan"), float("inf"), Decimal("nan"), "\ud800", {1, 2}])
def test_what_is_not_json_has_no_spelling(value: Any) -> None:
    with pytest.raises(ValueError, match=r"."):
        canonical(value)


@given(VALUES)
def test_the_spelling_means_the_same(value: Any) -> None:
    assert canonical(exact(canonical(value))) == canonical(value)


@given(VALUES)
def test_indentation_and_escapes_change_nothing(value: Any) -> None:
    assert digest(exact(json.dumps(value, indent=2).encode())) == digest(value)


NUMBERS = [
    *(b"0.10000000000000001", b"3.14159265358979323846", b"-1e-400", b"100000000000000000000.5"),
    *(b"1.50", b"-0.0", b"1E5", b"0e5", b"1e308", b"0.0000001", b"12345678901234567890"),
]


@pytest.mark.parametrize("number", NUMBERS)
def test_a_number_is_written_as_exactly_as_it_came(number: bytes) -> None:
    read = exact(b'{"a":[%b,"%b",true],"%b":null}' % (number, number, number))
    again = exact(written(read))
    assert again == read
    assert canonical(again) == canonical(read)
    assert isinstance(again["a"][0], Decimal) is isinstance(read["a"][0], Decimal)


@given(VALUES)
def test_what_is_written_means_the_same(value: Any) -> None:
    read = exact(json.dumps(value).encode())
    assert digest(exact(written(read))) == digest(value)


@pytest.mark.parametrize("number", [b"1e400", b"-1E+0999", b"1e999999999"])
def test_a_number_that_some_would_read_as_infinite_is_not_written(number: bytes) -> None:
    with pytest.raises(ValueError, match="range"):
        written(exact(b"[%b]" % number))
