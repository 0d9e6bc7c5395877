"""What a message asks for, in the words of a policy.

That arguments have one digest in any spelling: tests/shared/jsonrpc/test_canonical.py.
"""

import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.jsonrpc.envelope import parse
from shared.jsonrpc.results import EditError, Editor
from shared.policy.actions import LISTS, Listed, action_of, entry_name, filtered
from shared.policy.classes import ToolClass
from shared.policy.methods import FREE, RULED
from shared.policy.model import Action

URI = "file:///a"


def asked(method: str, tool_class: ToolClass | None = None, **params: Any) -> Action | None:
    body = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
    return action_of("crm", parse(json.dumps(body).encode()), tool_class)


@pytest.mark.parametrize(
    ("method", "params", "name", "args"),
    [
        ("tools/call", {"name": "add", "arguments": {"n": 1}}, "add", {"n": 1}),
        ("tools/call", {"name": "add"}, "add", None),
        ("tools/call", {"name": "add", "arguments": None}, "add", None),
        ("prompts/get", {"name": "greet", "arguments": {"who": "bob"}}, "greet", {"who": "bob"}),
        ("resources/read", {"uri": URI}, URI, None),
        ("resources/subscribe", {"uri": URI}, URI, None),
        ("resources/unsubscribe", {"uri": URI, "name": "other"}, URI, None),
        ("resources/read", {}, None, None),
        ("resources/read", {"uri": [URI]}, None, None),
        (
            "completion/complete",
            {"ref": {"type": "ref/prompt", "name": "greet", "uri": URI}, "argument": {"name": "w"}},
            "greet",
            {"name": "w"},
        ),
        ("completion/complete", {"ref": {"type": "ref/resource", "uri": URI}}, URI, None),
        ("completion/complete", {"ref": {"type": "ref/other", "name": "greet"}}, None, None),
        ("subscriptions/listen", {}, None, None),
    ],
)
def test_each_method_has_its_name_and_its_arguments(
    method: str, params: dict[str, Any], name: str | None, args: dict[str, Any] | None
) -> None:
    """P31: what is reached another way is judged under its own name."""
    assert asked(method, **params) == Action("crm", method, name, None, args)


def test_only_calls_of_tools_have_a_class() -> None:
    made = asked("tools/call", ToolClass.ADMIN, name="add")
    assert made is not None
    assert made.tool_class is ToolClass.ADMIN
    other = asked("prompts/get", ToolClass.READ, name="add")
    assert other is not None
    assert other.tool_class is None


def test_an_answer_asks_for_nothing() -> None:
    assert action_of("crm", parse(b'{"jsonrpc":"2.0","id":1,"result":{}}'), None) is None


def test_every_list_is_free_and_what_it_lists_needs_a_rule() -> None:
    """P33: or a list would show what calls are denied."""
    assert set(LISTS) == {method for method in FREE if method.endswith("/list")} - {"tasks/list"}
    assert {listed.method for listed in LISTS.values()} <= RULED


ENTRIES = st.lists(st.sampled_from([{"name": "a"}, {"name": "b"}, {"name": 1}, {}, "a", None]))


@given(ENTRIES, st.sampled_from(["public", "private", None]))
def test_a_list_keeps_what_is_kept_in_its_order(entries: list[Any], scope: str | None) -> None:
    listed = LISTS["tools/list"]
    result = {"tools": entries, "nextCursor": "c", "cacheScope": scope}
    document = {"jsonrpc": "2.0", "id": 1, "result": result}

    def keep(some: list[Any]) -> list[Any]:
        return [entry for entry in some if entry_name(entry, listed) == "a"]

    changed = filtered(document, listed, keep)
    kept = keep(entries)
    if kept == entries:
        assert changed is None
        return
    assert changed is not None
    # Nobody else may be shown from a cache what this user is shown.
    wanted = "private" if scope == "public" else scope
    assert changed["result"] == {"tools": kept, "nextCursor": "c", "cacheScope": wanted}
    assert document["result"] is result
    assert result["tools"] == entries


@pytest.mark.parametrize("result", [None, [], "tools", {"tools": {}}, {"tools": "a"}, {}])
def test_what_is_no_list_is_left_alone(result: Any) -> None:
    document = {"jsonrpc": "2.0", "id": 1, "result": result}
    assert filtered(document, LISTS["tools/list"], lambda _: []) is None


@pytest.mark.parametrize("listed", LISTS.values(), ids=LISTS)
@pytest.mark.parametrize("spell", [str.upper, str.title, lambda name: name.replace("s", "\u017f")])
def test_p33_a_list_in_other_case_does_not_pass(
    listed: Listed, spell: Callable[[str], str]
) -> None:
    """A reader that ignores case would take it for the list that nobody cut down."""
    editor = Editor(lambda document: filtered(document, listed, lambda _: []), event_stream=False)
    document = {"jsonrpc": "2.0", "id": 1, "result": {spell(listed.member): [{"name": "a"}]}}
    with pytest.raises(EditError):
        editor.rest(json.dumps(document).encode())
