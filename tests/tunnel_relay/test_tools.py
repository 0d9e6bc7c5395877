"""What clients say of their tools is put together, and nothing that differs is lost."""

from hashlib import sha256
from typing import Any

from shared.policy.classes import ToolClass
from shared.wire.tools import PinState, ToolWord
from tunnel_relay.tools import Told, Tool, ToolBook, matches, server_of

ONE, TWO = "1" * 32, "2" * 32
TEXT = '{"name":"look"}'
DIGEST = sha256(TEXT.encode()).hexdigest()


def word(name: str, kind: ToolClass | None = ToolClass.READ, **changed: Any) -> ToolWord:
    text = changed.get("definition", TEXT)
    facts = {"sha256": sha256(text.encode()).hexdigest(), "state": PinState.PINNED, "title": ""}
    return ToolWord(name, kind, **({"definition": text} | facts | changed))


def told(instance: str, *words: ToolWord, upstream: str = "git") -> Told:
    return Told("office", instance, upstream, {each.name: each for each in words})


def test_clients_that_say_the_same_are_one_line() -> None:
    server = server_of("office/git", [told(ONE, word("look")), told(TWO, word("look"))])
    (tool,) = server.tools
    assert tool.agreed
    row = tool.row()
    assert (row["class"], row["state"], row["said"], row["silent"]) == ("read", "pinned", [], [])
    assert server.facts() == {
        "server": "office/git",
        "clients": 2,
        "told": 2,
        "tools": 1,
        "pinned": 1,
        "new": 0,
        "changed": 0,
        "differs": 0,
    }


def test_what_differs_is_told_of_each_and_the_gravest_counts() -> None:
    changed = word("look", ToolClass.WRITE, state=PinState.CHANGED, sha256="f" * 64)
    server = server_of("office/git", [told(ONE, word("look"), word("more")), told(TWO, changed)])
    look, more = server.tools
    assert not look.agreed
    assert look.row()["state"] == "changed"
    assert [each["class"] for each in look.row()["said"]] == ["read", "write"]
    assert more.silent == (TWO,)
    assert not more.agreed
    assert server.facts()["differs"] == 2
    assert look.is_in("changed")
    assert look.is_in("pinned")
    assert not more.is_in("changed")


def test_a_client_that_said_nothing_yet_disagrees_with_nobody() -> None:
    silent = Told("office", TWO, "git", None)
    server = server_of("office/git", [told(ONE, word("look")), silent])
    assert server.tools[0].agreed
    assert (server.clients, server.told) == (2, 1)


def test_a_definition_says_whether_it_is_what_the_server_lists() -> None:
    changed = word("look", state=PinState.CHANGED, sha256="f" * 64)
    tool = Tool("office/git", "look", ((ONE, word("look")), (TWO, changed)))
    (found,) = tool.definitions()
    assert found["sha256"] == DIGEST
    assert found["said_by"] == [ONE, TWO]
    assert not found["listed"]
    (whole,) = Tool("office/git", "look", ((ONE, word("look")),)).definitions()
    assert whole["listed"]
    assert Tool("office/git", "look", ((ONE, word("look", definition="")),)).definitions() == []


def test_of_a_class_are_the_pinned_tools_alone() -> None:
    new = word("new", None, state=PinState.NEW)
    blocked = word("blocked", state=PinState.CHANGED)
    server = server_of("office/git", [told(ONE, word("look"), new, blocked)])
    assert server.by_class()[ToolClass.READ] == ["look"]
    assert [kind for kind, names in server.by_class().items() if names] == [ToolClass.READ]


def test_a_tool_is_found_by_its_name_title_class_or_digest() -> None:
    tool = Tool("office/git", "LookUp", ((ONE, word("LookUp", title="Find it")),))
    for query in ("", "kup", "find", "read", DIGEST[:8]):
        assert matches(tool, query), query
    assert not matches(tool, "rea")
    assert not matches(tool, "write")


def test_what_was_put_together_holds_until_a_client_says_something_new() -> None:
    offered = [told(ONE, word("look"))]
    book = ToolBook(lambda: offered)
    first = book.server("office/git")
    assert book.server("office/git") is first
    assert book.names() == ["office/git"]
    offered[0] = told(ONE, word("look"), word("more"))
    assert len(book.server("office/git").tools) == 2
    offered.append(told(ONE, word("tick"), upstream="time"))
    assert book.server("office/time").tools[0].name == "tick"
    assert [each.name for each in book.all()] == ["office/git", "office/time"]
    assert next(iter(book.all())) is book.server("office/git")
    offered.clear()
    gone = book.server("office/git")
    assert (gone.clients, gone.tools) == (0, [])
    assert book.server("office/none").facts()["tools"] == 0
