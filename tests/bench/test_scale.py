"""The figures of large catalogues are all there, and the smallest policy is one of one rule."""

import pytest

from bench import scale
from bench.doc import DOCUMENT, replaced
from shared.policy.document import read_policy


@pytest.mark.parametrize("rules", [1, 40])
def test_a_policy_has_as_many_rules_as_it_says(rules: int) -> None:
    assert len(read_policy(scale.rules_text(rules), "bench").rules) == rules


def test_there_is_a_figure_for_whatever_is_done_with_a_list() -> None:
    found = scale.stalls((4, 6))
    assert len(found) == 4
    assert all(min(took) > 0 for took in found.values())


def test_calls_and_searches_have_figures() -> None:
    assert scale.per_call((1, 3), seconds=0.0001) > 0
    texts = scale.texts(scale.CHUNK * 2)
    assert {len(text) for text in texts.values()} == {scale.CHUNK * 2}
    assert all(scale.scrubbing(text) > 0 for text in texts.values())


def test_our_document_has_the_markers() -> None:
    for markers in ((scale.START, scale.END), (scale.SEARCH_START, scale.SEARCH_END)):
        replaced(DOCUMENT.read_text(), "new", *markers)
