"""The policies and tools that are measured are what they say, and refusals are not measured."""

import pytest

from bench import policy
from bench.doc import DOCUMENT, replaced
from shared.policy.document import read_policy


@pytest.mark.parametrize("rules", policy.RULES)
def test_a_policy_has_as_many_rules_as_it_says(rules: int) -> None:
    assert len(read_policy(policy.policy_text(rules), "bench").rules) == rules


def test_every_tool_is_of_one_kind() -> None:
    found = [name for kind in policy.KINDS for name in policy.names(kind, 10)]
    assert len(set(found)) == 10


def test_every_row_has_a_figure_for_every_size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(policy, "TOOLS", (3, 6))
    monkeypatch.setattr(policy, "RULES", (4, 40))
    head, _, *rows = policy.table(seconds=0.0001).splitlines()
    assert head.count("tools") == 4
    assert len(rows) == 2 * 2 * len(policy.KINDS)
    assert all(len(row.split("|")) == 7 for row in rows)
    assert "one secret" in policy.searching(seconds=0.0001)


def test_a_call_that_is_refused_is_no_figure() -> None:
    with pytest.raises(RuntimeError, match="refused"):
        policy.timed([lambda: None], int, 0.0001)


def test_our_document_has_the_markers() -> None:
    replaced(DOCUMENT.read_text(), "new", policy.START, policy.END)
