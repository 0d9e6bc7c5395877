"""The document: only what stands between the markers is replaced."""

import pytest

from bench.doc import DOCUMENT, END, START, replaced


def test_results_replace_the_old_ones_and_nothing_else() -> None:
    document = f"# Title\n\n{START}\nold\n{END}\n\nrest\n"
    once = replaced(document, "new")
    assert once == f"# Title\n\n{START}\n\nnew\n\n{END}\n\nrest\n"
    assert replaced(once, "new") == once


@pytest.mark.parametrize("document", ["", START, END, f"{END}{START}"])
def test_a_document_without_both_markers_is_refused(document: str) -> None:
    with pytest.raises(ValueError, match="no "):
        replaced(document, "new")


def test_our_document_has_the_markers() -> None:
    replaced(DOCUMENT.read_text(), "new")
