"""One digest for one definition, however it is spelled, and a cache that confuses nothing."""

import json
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.jsonrpc.canonical import digest, exact
from tunnel_client.catalog.definitions import (
    Digests,
    Kind,
    instructions_item,
    item_of,
    name_of,
)

TOOL = {"name": "t", "title": "T", "inputSchema": {"type": "object", "default": 1}}
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    # Any character that JSON can carry.
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


def test_the_whole_definition_counts_and_its_spelling_does_not() -> None:
    item = item_of(Kind.TOOL, TOOL)
    assert item is not None
    shuffled = exact(json.dumps(dict(reversed(TOOL.items()))).replace(" 1}", " 1.0}").encode())
    assert item_of(Kind.TOOL, shuffled) == item
    assert item.sha256 == digest(TOOL)
    assert item.value() == TOOL
    changes: list[dict[str, Any]] = [{"title": "U"}, {"annotations": {}}, {"icons": []}]
    for change in changes:
        other = item_of(Kind.TOOL, TOOL | change)
        assert other is not None
        assert other.sha256 != item.sha256


@pytest.mark.parametrize(
    "entry",
    [
        *(None, 7, "t", [], {}, {"name": 7}, {"name": ""}, {"name": "x" * 1025}),
        {"name": "x", "description": "\ud800"},
    ],
)
def test_what_has_no_name_or_no_canonical_form_is_no_item(entry: Any) -> None:
    assert item_of(Kind.TOOL, entry) is None


def test_a_resource_is_called_by_its_uri_or_template_and_not_by_both() -> None:
    assert name_of(Kind.RESOURCE, {"uri": "a:b"}) == "a:b"
    assert name_of(Kind.RESOURCE, {"uriTemplate": "a:{b}"}) == "a:{b}"
    assert name_of(Kind.RESOURCE, {"uri": "a:b", "uriTemplate": "a:{b}"}) is None


def test_instructions_are_an_item_too() -> None:
    item = instructions_item("be kind")
    assert item is not None
    assert item.value() == {"instructions": "be kind"}
    assert instructions_item("\ud800") is None


def test_titles_come_from_either_place_and_are_cut() -> None:
    titled = item_of(Kind.TOOL, {"name": "t", "annotations": {"title": "x" * 500}})
    assert titled is not None
    assert titled.title == "x" * 200


def test_what_looks_alike_to_python_has_digests_of_its_own() -> None:
    digests = Digests()
    entries = [{"default": value} for value in (1, True, "1", "1.5", Decimal("1.5"), 1.0)]
    found = [digests.of(entry) for entry in entries]
    assert found[0] == found[5]
    assert len(set(found)) == 5
    assert found == [digest(entry) for entry in entries] == [digests.of(e) for e in entries]


@given(VALUES)
def test_the_cache_says_what_the_digest_says(value: Any) -> None:
    digests = Digests()
    assert digests.of(value) == digests.of(value) == digest(value)


@pytest.mark.parametrize("entry", ["\ud800", {"a": object()}, float("inf")])
def test_what_has_no_digest_is_never_kept(entry: Any) -> None:
    digests = Digests()
    assert digests.of(entry) is None
    assert digests.of(entry) is None


def test_the_cache_is_bounded() -> None:
    digests = Digests(limit=1600)
    for number in range(1000):
        assert digests.of({"n": number, "p": "x" * 50}) is not None
    assert len(digests._known) < 40
    assert digests.of("x" * 5000) == digest("x" * 5000)
