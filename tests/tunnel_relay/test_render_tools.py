"""Tools on a terminal: every difference, and nothing a server wrote moves the cursor."""

from shared.wire.tools import PinState
from tests.tunnel_relay.test_tools import ONE, TWO, word
from tunnel_relay import render_tools
from tunnel_relay.tools import Tool

EVIL = "look\u202e\u200bup"


def shown(tool: Tool) -> str:
    return render_tools.tool(tool.row() | {"definitions": tool.definitions()})


def test_a_line_is_a_tool_and_a_difference_has_lines_of_its_own() -> None:
    plain = Tool("office/git", "look", ((ONE, word("look", title="Look up")),))
    odd = Tool("office/git", "put", ((ONE, word("put", None, state=PinState.NEW)),), (TWO,))
    head, *lines = render_tools.tools([plain.row(), odd.row()]).splitlines()
    assert head.split("\t") == ["SERVER", "TOOL", "CLASS", "STATE", "DEFINITION", "TITLE"]
    assert lines[0].split("\t")[:4] == ["office/git", "look", "read", "pinned"]
    assert lines[1].split("\t")[3] == "DIFFERS"
    assert lines[2].split("\t")[:4] == ["", f"  at {ONE[:12]}", "-", "new"]
    assert "unknown there" in lines[3]
    assert render_tools.tools([]) == "no connected client tells of such tools"


def test_nothing_of_a_name_title_or_definition_is_hidden() -> None:
    """P16: escapes and invisible characters are seen, in a list and in full."""
    text = '{"description":"a\u202eb\x1b[2J"}'
    tool = Tool("o/g", EVIL, ((ONE, word(EVIL, title="\x1b[2J\u202e", definition=text)),))
    for said in (render_tools.tools([tool.row()]), shown(tool)):
        assert "\\u202e" in said
        assert not set(said) & set("\u202e\u200b\x1b")
    long = Tool("o/g", "x" * 200, ((ONE, word("x" * 200)),))
    assert "…" in render_tools.tools([long.row()])


def test_one_tool_is_shown_in_full_with_the_next_command() -> None:
    fine = Tool("office/git", "look", ((ONE, word("look", title="Look up")),))
    assert '"name": "look"' in shown(fine)
    assert "tunnel-client tool diff git" in shown(fine)
    new = Tool(
        "office/git", "look", ((ONE, word("look", None, state=PinState.NEW, definition="")),)
    )
    assert "tunnel-client tool pin git" in shown(new)
    assert "definition: not told" in shown(new)
    changed = word("look", state=PinState.CHANGED, sha256="f" * 64)
    both = Tool("office/git", "look", ((ONE, word("look")), (TWO, changed)))
    assert "DIFFERS" in shown(both)
    assert "the server lists another one now" in shown(both)


def test_two_clients_definitions_are_compared() -> None:
    other = word("look", definition='{"name":"look","title":"x\u202e"}', sha256="f" * 64)
    tool = Tool("office/git", "look", ((ONE, word("look")), (TWO, other)))
    said = render_tools.difference(tool.row() | {"definitions": tool.definitions()})
    assert said is not None
    assert '+  "title": "x\\u202e"' in said
    assert f"+++ at {TWO[:12]}" in said
    same = Tool("office/git", "look", ((ONE, word("look")),))
    assert render_tools.difference(same.row() | {"definitions": same.definitions()}) is None
