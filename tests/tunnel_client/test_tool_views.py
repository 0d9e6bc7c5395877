"""What operators read of tools: whole, escaped, and in an order that can be compared."""

import os
import pty
import subprocess
import sys

import pytest

from shared.jsonrpc.canonical import canonical
from shared.policy.classes import ToolClass
from tests.tunnel_client.catalog.test_catalog import ADD, EVIL, item
from tunnel_client.catalog.catalog import State, ToolState
from tunnel_client.catalog.scan import Flag, scan
from tunnel_client.catalog.scan_text import Code
from tunnel_client.tool_pins import Choice
from tunnel_client.tool_views import (
    as_table,
    as_worksheet,
    counted,
    definition_lines,
    flag_lines,
    in_full,
    is_terminal,
    plain_diff,
    read_worksheet,
    tool_lines,
    tool_row,
)

HIDDEN = ADD | {"description": "Adds.\u202e\x1b[8m\nMore.\U000e0041"}


def choice(entry: dict[str, object]) -> Choice:
    made = item(entry)
    return Choice(made, None, ToolClass.WRITE, scan(made), State.NEW)


def test_a_definition_is_shown_whole_and_nothing_in_it_hides() -> None:
    """P16: shown escaped."""
    text = in_full(choice(HIDDEN))
    assert text.startswith("add (new, class write), ")
    assert r'"description": "Adds.\u{202e}\u001b[8m\nMore.\u{e0041}"' in text
    assert "! bidi_control at description" in text
    assert text.replace("\n", "").isprintable()


def test_numbers_are_shown_as_they_are_compared() -> None:
    lines = definition_lines(canonical({"a": 1.5, "b": "1.5", "c": 10**30, "d": [1, "x"]}).decode())
    assert [line.strip() for line in lines] == [
        "{",
        '"a": 15e-1,',
        '"b": "1.5",',
        f'"c": {10**30},',
        '"d": [1, "x"]',
        "}",
    ]


def test_a_difference_is_shown_line_by_line() -> None:
    lines = plain_diff(item(ADD).definition, item(EVIL).definition).split("\n")
    assert '-  "description": "Adds.",' in lines
    assert any(line.startswith('+  "description": "Adds. <IMPORTANT>') for line in lines)
    assert plain_diff(item(ADD).definition, item(ADD).definition) == ""


def test_a_difference_stands_side_by_side_on_a_terminal() -> None:
    script = (
        "from tunnel_client.tool_views import is_terminal, show_diff\n"
        "assert is_terminal()\n"
        f"show_diff({item(ADD).definition!r}, {item(HIDDEN).definition!r})"
    )
    ours, theirs = pty.openpty()
    environ = os.environ | {"TERM": "xterm", "COLUMNS": "120"}
    with subprocess.Popen([sys.executable, "-c", script], stdout=theirs, env=environ) as shown:
        os.close(theirs)
        text = b""
        while True:
            try:
                text += os.read(ours, 65536)
            except OSError:
                break
        assert shown.wait(60) == 0
    os.close(ours)
    assert b"listed now" in text
    assert rb"\u{202e}" in text
    assert "\u202e".encode() not in text


def test_lists_of_tools_say_state_class_digest_and_flags() -> None:
    flag = Flag(Code.MARKUP, "description", "<IMPORTANT>")
    tool = ToolState("add", ToolClass.READ, "ab" * 32, State.CHANGED, (flag, flag), "T")
    assert tool_lines([tool])[0].split() == ["changed", "read", "abababababab", "add", Code.MARKUP]
    assert tool_row(tool)["flags"][0]["path"] == "description"
    assert tool_row(tool._replace(tool_class=None))["class"] is None
    assert counted([tool, tool._replace(state=State.NEW)]) == "1 new, 1 changed"
    assert counted([]) == "no tools"
    assert flag_lines([flag] * 12)[-1] == "  ! and 2 more"


def test_one_screen_names_every_tool_and_what_is_odd() -> None:
    lines = as_table([choice(ADD), choice(HIDDEN)]).split("\n")
    assert lines[0].split() == ["write", "add", "Adds."]
    assert lines[2].split()[0] == "!"


def test_a_worksheet_is_read_back() -> None:
    text = as_worksheet("desk", [choice(HIDDEN)])
    assert "\u202e" not in text
    assert read_worksheet(text) == {"add": ToolClass.WRITE}
    assert read_worksheet("# nothing\n\n") == {}
    assert read_worksheet("read a # b\nadmin c") == {"a": ToolClass.READ, "c": ToolClass.ADMIN}
    for wrong in ("reed a", "read", "read a b"):
        with pytest.raises(ValueError, match="line 2"):
            read_worksheet(f"#\n{wrong}")


def test_a_pipe_is_no_terminal() -> None:
    done = subprocess.run(
        [sys.executable, "-c", "import tunnel_client.tool_views as v; print(v.is_terminal())"],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.stdout == "False\n"
    assert isinstance(is_terminal(), bool)
