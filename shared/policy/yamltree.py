"""Reads the YAML of policies into a tree that knows its lines: a small, unambiguous part of YAML.

Maps, lists and text, nothing else: no tags, no anchors, no aliases, no second document, and no text
that turns into a date or a truth value by itself.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import yaml

from shared.configfile import ConfigError, Problem

MAX_BYTES = 1024 * 1024
MAX_DEPTH = 16

# libyaml's parser where it is there: ten times as fast, and the same events.
_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


@dataclass(slots=True)
class Tree:
    """One value: `value` is text, a list of trees, or a map of trees by key; `line` from 1.

    `is_plain` tells that text stood without quotes, so that it may be meant as a number.
    """

    value: "str | list[Tree] | dict[str, Tree]"
    line: int
    is_plain: bool = False
    lines: dict[str, int] = field(default_factory=dict)
    """Where the keys of a map stand."""

    def as_data(self) -> Any:
        """Return the plain value, without lines."""
        if isinstance(self.value, dict):
            return {key: each.as_data() for key, each in self.value.items()}
        if isinstance(self.value, list):
            return [each.as_data() for each in self.value]
        return self.value


def read_tree(text: str, source: str) -> Tree:
    """Read one document; raises ConfigError with the first fault of syntax."""
    reader = _Reader(source)
    if len(text.encode(errors="replace")) > MAX_BYTES:
        raise reader.refused(1, "larger than 1 MiB")
    try:
        return reader.read(yaml.parse(text, Loader=_Loader))
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = 1 if mark is None else mark.line + 1
        star = "alias" in str(error.context)
        hint = 'quote a star, as in tool: "*"' if star else error.problem or error.context
        raise reader.refused(line, f"not YAML: {hint}") from None
    except (yaml.YAMLError, UnicodeError, ValueError):
        raise reader.refused(1, "not YAML: it holds a character that YAML does not take") from None


class _Reader:
    def __init__(self, source: str) -> None:
        self._source = source

    def refused(self, line: int, message: str) -> ConfigError:
        return ConfigError([Problem(self._source, line, "", message)])

    def read(self, events: Iterator[yaml.Event]) -> Tree:
        documents = 0
        found: Tree | None = None
        for event in events:
            if isinstance(event, yaml.DocumentStartEvent):
                documents += 1
                if documents > 1:
                    raise self.refused(
                        _line(event), "a second document; there is one policy a file"
                    )
            elif isinstance(event, yaml.NodeEvent):
                found = self._node(event, events, 1)
        if found is None:
            raise self.refused(1, "the file is empty")
        return found

    def _node(self, event: yaml.Event, events: Iterator[yaml.Event], depth: int) -> Tree:
        line = _line(event)
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None):
            raise self.refused(line, "anchors (&) and aliases (*) are not taken here; quote a star")
        if getattr(event, "tag", None):
            raise self.refused(line, "tags (!) are not taken here; quote the text")
        if depth > MAX_DEPTH:
            raise self.refused(line, f"nested deeper than {MAX_DEPTH}")
        if isinstance(event, yaml.ScalarEvent):
            return Tree(event.value, line, is_plain=not event.style)
        if isinstance(event, yaml.SequenceStartEvent):
            return Tree(list(self._entries(events, yaml.SequenceEndEvent, depth)), line)
        return self._map(line, list(self._entries(events, yaml.MappingEndEvent, depth)))

    def _entries(
        self, events: Iterator[yaml.Event], end: type[yaml.Event], depth: int
    ) -> Iterator[Tree]:
        for event in events:
            if isinstance(event, end):
                return
            yield self._node(event, events, depth + 1)

    def _map(self, line: int, entries: list[Tree]) -> Tree:
        tree = Tree(members := {}, line)
        for key, value in zip(entries[::2], entries[1::2], strict=True):
            if not isinstance(key.value, str):
                raise self.refused(key.line, "a key is text, not a list or a map")
            if key.value == "<<":
                raise self.refused(key.line, "merge keys (<<) are not taken here")
            if key.value in members:
                first = tree.lines[key.value]
                raise self.refused(key.line, f"{key.value} is there twice, first in line {first}")
            members[key.value] = value
            tree.lines[key.value] = key.line
        return tree


def _line(event: yaml.Event) -> int:
    mark = event.start_mark
    return 1 if mark is None else int(mark.line) + 1
