"""Names that are found in the bytes, however an upstream spells them."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.jsonrpc.needles import holds, holds_name

NAMES = ("method", "tools", "resourceTemplates", "inputRequests", "tasks")
FOLDED = {"s": "\N{LATIN SMALL LETTER LONG S}", "k": "\N{KELVIN SIGN}"}


def spellings(letter: str) -> list[str]:
    """Return what readers that ignore case take for a letter, with escapes and without."""
    plain = [letter.lower(), letter.upper(), *filter(None, [FOLDED.get(letter.lower())])]
    escapes = [f"\\u{ord(one):04x}" for one in plain]
    return [*plain, *escapes, *(f"\\u{ord(one):04X}" for one in plain)]


@st.composite
def spelled(draw: st.DrawFn) -> tuple[str, str]:
    """Draw a name and one of its spellings."""
    name = draw(st.sampled_from(NAMES))
    return name, "".join(draw(st.sampled_from(spellings(letter))) for letter in name)


@given(spelled())
def test_h15_a_name_is_found_however_it_is_spelled(found: tuple[str, str]) -> None:
    name, spelling = found
    text = f'{{"{spelling}":1}}'
    (read,) = json.loads(text)
    assert read.casefold() == name.casefold()
    assert holds_name([f'"{name.lower()}"'.encode()], text.encode())
    assert holds_name([f'"{name.lower()}"'.encode()], bytearray(text.encode()))


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b'{"text":"The Method of all Tools"}',
        b'{"text":"\\u003cb\\u003e \\u0026 \\u4e2d\\u6587 \\u017c \\u0417\\n"}',
        '{"text":"\u017cle \u4e2d\u6587"}'.encode(),
        b'{"methods":1,"tool":2}',
    ],
)
def test_what_spells_no_name_is_let_alone(text: bytes) -> None:
    assert not holds_name([b'"method"', b'"tools"'], text)


def test_bytes_are_found_as_they_are() -> None:
    assert holds([b"a", b"b"], b"xb")
    assert not holds([b"a", b"b"], b"xB")
