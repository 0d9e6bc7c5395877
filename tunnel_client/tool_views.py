"""How tools, flags and differences look on a terminal; everything a server wrote is escaped."""

import difflib
import json
import os
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from shared.escape import escaped, one_line
from shared.jsonrpc.canonical import canonical, exact
from shared.policy.classes import ToolClass
from tunnel_client.catalog.catalog import State, ToolState
from tunnel_client.catalog.scan import Flag

if TYPE_CHECKING:
    from tunnel_client.tool_pins import Choice

SHOWN_FLAGS = 10
MAX_LINES = 4_000
"""Of a definition in a diff; comparing more takes long, and nobody reads it."""


def tool_row(tool: ToolState) -> dict[str, Any]:
    """Return a tool for JSON."""
    return {
        "name": tool.name,
        "class": None if tool.tool_class is None else tool.tool_class.value,
        "state": tool.state.value,
        "sha256": tool.sha256,
        "title": tool.title,
        "flags": [flag.as_dict() for flag in tool.flags],
    }


def tool_lines(tools: Iterable[ToolState]) -> list[str]:
    """Return a line for each tool: state, class, digest, name, flags."""
    lines = []
    for tool in tools:
        shown = tool.tool_class.value if tool.tool_class is not None else "-"
        codes = " ".join(dict.fromkeys(flag.code.value for flag in tool.flags))
        name = one_line(tool.name, 60)
        line = f"  {tool.state.value:<8} {shown:<13} {tool.sha256[:12]}  {name:<32} {codes}"
        lines.append(line.rstrip())
    return lines


def flag_lines(flags: Sequence[Flag]) -> list[str]:
    """Return the findings, one a line, so many and no more."""
    lines = [f"  ! {flag.code.value} at {flag.path or '.'}: {flag.excerpt}" for flag in flags]
    more = len(lines) - SHOWN_FLAGS
    return lines[:SHOWN_FLAGS] + ([f"  ! and {more} more"] if more > 0 else [])


def in_full(choice: "Choice") -> str:
    """Return a definition as it would be pinned: every member, escaped."""
    shown = "" if choice.tool_class is None else f", class {choice.tool_class.value}"
    head = f"{one_line(choice.item.name)} ({choice.state.value}{shown}), {choice.item.sha256}"
    body = [f"  {line}" for line in definition_lines(choice.item.definition)]
    return "\n".join([head, *flag_lines(choice.flags), *body])


def as_table(choices: Iterable["Choice"]) -> str:
    """Return one screen: what is proposed for each tool, and what is odd about it."""
    lines = []
    for choice in choices:
        shown = "-" if choice.tool_class is None else choice.tool_class.value
        about = choice.item.value().get("description")
        text = one_line(about, 60) if isinstance(about, str) else ""
        lines.append(f"  {shown:<13} {one_line(choice.item.name, 40):<32} {text}".rstrip())
        codes = " ".join(dict.fromkeys(flag.code.value for flag in choice.flags))
        if codes:
            lines.append(f"  {'':<13} ! {codes}")
    return "\n".join(lines)


def definition_lines(definition: str) -> list[str]:
    """Return a canonical definition over several lines, escaped; numbers as they are compared."""
    return escaped("\n".join(_pretty(exact(definition.encode()), ""))).split("\n")


def plain_diff(before: str, after: str) -> str:
    """Return what differs between two definitions, as a unified diff."""
    lines = difflib.unified_diff(
        definition_lines(before)[:MAX_LINES],
        definition_lines(after)[:MAX_LINES],
        "pinned",
        "listed now",
        lineterm="",
    )
    return "\n".join(lines)


def show_diff(before: str, after: str) -> None:
    """Print two definitions side by side on standard output, a terminal."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    left, right = definition_lines(before)[:MAX_LINES], definition_lines(after)[:MAX_LINES]
    table = Table("pinned", "listed now", expand=True)
    matcher = difflib.SequenceMatcher(None, left, right, autojunk=False)
    for tag, i, j, k, m in matcher.get_opcodes():
        same = tag == "equal"
        for at in range(max(j - i, m - k)):
            old = left[i + at] if i + at < j else ""
            new = right[k + at] if k + at < m else ""
            table.add_row(Text(old, "" if same else "red"), Text(new, "" if same else "bold green"))
    Console(highlight=False, markup=False).print(table)


def as_worksheet(upstream: str, choices: Iterable["Choice"]) -> str:
    """Return the text an operator edits: a class and a name a line."""
    lines = [
        f"# Tools of {upstream}: change a class, or delete a line to leave that tool unpinned.",
        f"# Classes: {', '.join(ToolClass)}",
    ]
    for choice in choices:
        about = choice.item.value().get("description")
        text = one_line(about, 80) if isinstance(about, str) else ""
        shown = "" if choice.tool_class is None else choice.tool_class.value
        lines.append(f"{shown:<13} {choice.item.name:<32} # {text}")
        lines += [f"#{line}" for line in flag_lines(choice.flags)]
    return "\n".join(lines) + "\n"


def read_worksheet(text: str) -> dict[str, ToolClass]:
    """Return the class of each tool that is to be pinned; raises ValueError with the line."""
    found: dict[str, ToolClass] = {}
    for number, line in enumerate(text.splitlines(), 1):
        words = line.partition("#")[0].split()
        if not words:
            continue
        if len(words) != 2 or words[0] not in set(ToolClass):
            raise ValueError(f"line {number}: a line is CLASS NAME")
        found[words[1]] = ToolClass(words[0])
    return found


def counted(tools: Iterable[ToolState]) -> str:
    """Say how many there are of each state."""
    states = [tool.state for tool in tools]
    told = [f"{states.count(state)} {state.value}" for state in State if state in states]
    return ", ".join(told) or "no tools"


def is_terminal() -> bool:
    """Tell whether standard output is a screen that can show colours."""
    return os.isatty(1) and os.environ.get("TERM", "dumb") != "dumb"


def _pretty(value: Any, indent: str, lead: str = "", tail: str = "") -> list[str]:
    inner = indent + "  "
    if isinstance(value, dict) and value:
        lines = [f"{indent}{lead}{{"]
        last = len(value) - 1
        for at, (key, each) in enumerate(value.items()):
            name = f"{json.dumps(key, ensure_ascii=False)}: "
            lines += _pretty(each, inner, name, "" if at == last else ",")
        return [*lines, f"{indent}}}{tail}"]
    if isinstance(value, list) and any(isinstance(each, dict | list) for each in value):
        lines = [f"{indent}{lead}["]
        last = len(value) - 1
        for at, each in enumerate(value):
            lines += _pretty(each, inner, "", "" if at == last else ",")
        return [*lines, f"{indent}]{tail}"]
    if isinstance(value, list):
        text = "[" + ", ".join(canonical(each).decode() for each in value) + "]"
    else:
        text = canonical(value).decode()
    return [f"{indent}{lead}{text}{tail}"]
