"""What a person is shown never hides anything and never moves the cursor."""

from hypothesis import given
from hypothesis import strategies as st

from shared.escape import escaped, is_text, one_line


def test_what_hides_is_shown_by_its_number() -> None:
    text = "a\x1b[31m\u202eb\u200b\U000e0041\u3164\ufe0f\x9b\r"
    shown = r"a\u{1b}[31m\u{202e}b\u{200b}\u{e0041}\u{3164}\u{fe0f}\u{9b}\u{d}"
    assert escaped(text) == shown


def test_what_looks_escaped_is_told_apart_from_what_is() -> None:
    assert escaped(r"\u{202e}") == r"\\u{202e}"


def test_letters_of_any_language_stay_unless_ascii_is_wanted() -> None:
    assert escaped("Zürich 東京\n\tx") == "Zürich 東京\n\tx"
    assert escaped("Zürich", ascii_only=True) == r"Z\u{fc}rich"


def test_bytes_that_are_no_utf8_are_no_text() -> None:
    assert is_text("Zürich 東京 \U0001f600\0")
    assert not is_text("a\ud800")
    assert not is_text(b"\xff".decode(errors="surrogateescape"))


@given(st.text())
def test_nothing_unprintable_is_ever_left(text: str) -> None:
    left = escaped(text).replace("\n", "").replace("\t", "")
    assert left.isprintable()
    assert escaped(text, ascii_only=True).isascii()
    assert len(one_line(text, 40)) <= 40
    assert "\n" not in one_line(text, 40)
