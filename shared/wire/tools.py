"""What a client says of the tools of an upstream: its pins and classes, in parts of one frame each.

The relay's policy and pages speak of these; a client decides by its own files, not by this.
"""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from shared.errors import PeerError, TooBigError
from shared.ids import is_name
from shared.policy.classes import ToolClass
from shared.wire.limits import (
    MAX_CATALOG_UPSTREAMS,
    MAX_PAYLOAD_BYTES,
    MAX_TOOLS,
    MAX_TOOLS_BYTES,
)

MAX_TOOL_TEXT = 256
"""Characters in a tool's name or title."""
_DIGEST_HEX = 64
_PART = frozenset({"first", "more", "tools", "upstream"})
_DUE = frozenset({"class", "name", "sha256", "state"})
_MAY = _DUE | {"definition", "title"}


class PinState(StrEnum):
    """What the operator said of a tool's definition."""

    PINNED = "pinned"
    NEW = "new"
    """Seen, and not approved."""
    CHANGED = "changed"
    """Approved with another definition."""


@dataclass(frozen=True, slots=True)
class ToolWord:
    """What a client says of one tool.

    `kind` is its class, None while nobody gave it one; `sha256` is the digest of its definition,
    64 hex digits; `definition` is the canonical JSON of it, for those who approve, or "".
    """

    name: str
    kind: ToolClass | None
    sha256: str
    state: PinState
    title: str = ""
    definition: str = ""


@dataclass(frozen=True, slots=True)
class ToolsPart:
    """One frame: of which upstream, whether it begins anew, whether more follows."""

    upstream: str
    first: bool
    more: bool
    tools: list[ToolWord]


def encode_tools(upstream: str, tools: Iterable[ToolWord]) -> list[bytes]:
    """Return the payloads that say all of an upstream's tools; raises TooBigError.

    A definition that fits into no frame is left out.
    """
    items = [_item(tool) for tool in tools]
    around = len(_part(upstream, False, False, []))
    groups: list[list[bytes]] = [[]]
    room = MAX_PAYLOAD_BYTES - around
    for item in items:
        if len(item) + 1 > room:
            groups.append([])
            room = MAX_PAYLOAD_BYTES - around
        groups[-1].append(item)
        room -= len(item) + 1
    last = len(groups) - 1
    parts = [_part(upstream, at == 0, at < last, group) for at, group in enumerate(groups)]
    if len(items) > MAX_TOOLS or sum(map(len, parts)) > MAX_TOOLS_BYTES:
        raise TooBigError("too much to say of the tools of one upstream")
    return parts


def _item(tool: ToolWord) -> bytes:
    value: dict[str, Any] = {
        "class": tool.kind,
        "name": tool.name,
        "sha256": tool.sha256,
        "state": tool.state,
    }
    if tool.title:
        value["title"] = tool.title
    bare = _dump(value)
    if not tool.definition:
        return bare
    whole = _dump(value | {"definition": tool.definition})
    # Half a frame is more than any definition that people read.
    return whole if len(whole) <= MAX_PAYLOAD_BYTES // 2 else bare


def _part(upstream: str, first: bool, more: bool, items: list[bytes]) -> bytes:
    # A name needs no escapes, and the tools are JSON already.
    head = _dump({"first": first, "more": more})[:-1]
    return b'%b,"tools":[%b],"upstream":"%b"}' % (head, b",".join(items), upstream.encode())


def _dump(value: dict[str, Any]) -> bytes:
    return json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":")).encode()


def decode_tools(payload: bytes) -> ToolsPart:
    """Read the payload of TOOLS; raises PeerError."""
    if len(payload) > MAX_PAYLOAD_BYTES:
        raise TooBigError("TOOLS over its limit")
    try:
        value = json.loads(payload.decode(), object_pairs_hook=_unique)
    except (ValueError, RecursionError):
        raise PeerError("TOOLS is not strict JSON") from None
    if not isinstance(value, dict) or value.keys() != _PART:
        raise PeerError("TOOLS has other fields than due")
    upstream, first, more, tools = (value[key] for key in ("upstream", "first", "more", "tools"))
    if not isinstance(upstream, str) or not is_name(upstream):
        raise PeerError("malformed upstream name")
    if type(first) is not bool or type(more) is not bool or not isinstance(tools, list):
        raise PeerError("TOOLS has a malformed field")
    return ToolsPart(upstream, first, more, [_word(tool) for tool in tools])


def _word(value: Any) -> ToolWord:
    if not isinstance(value, dict) or not _DUE <= value.keys() <= _MAY:
        raise PeerError("a tool has other fields than due")
    name, sha256 = value["name"], value["sha256"]
    title, definition = value.get("title", ""), value.get("definition", "")
    if not _is_text(name) or not name or not _is_text(title) or not isinstance(definition, str):
        raise PeerError("a tool has a malformed text")
    if (
        not isinstance(sha256, str)
        or len(sha256) != _DIGEST_HEX
        or sha256.strip("0123456789abcdef")
    ):
        raise PeerError("a tool has a malformed digest")
    try:
        kind = None if value["class"] is None else ToolClass(value["class"])
        state = PinState(value["state"])
        definition.encode()
    except (ValueError, TypeError):
        raise PeerError("a tool has a malformed field") from None
    return ToolWord(name, kind, sha256, state, title, definition)


def _is_text(value: Any) -> bool:
    # Shown to operators: nothing that moves a cursor or cannot be written.
    return (
        isinstance(value, str)
        and len(value) <= MAX_TOOL_TEXT
        and (value.isprintable() or not value)
    )


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) != len(pairs):
        raise ValueError("duplicate key")
    return value


class ToolsHeard:
    """Puts the parts of one link together; what is held is bounded."""

    __slots__ = ("_coming", "_sizes")

    def __init__(self) -> None:
        self._coming: dict[str, list[ToolWord]] = {}
        self._sizes: dict[str, int] = {}

    def take(self, payload: bytes) -> tuple[str, list[ToolWord]] | None:
        """Take one part; return upstream and tools once all came. Raises PeerError."""
        part = decode_tools(payload)
        name = part.upstream
        if part.first:
            self._coming[name] = []
            self._sizes[name] = 0
        tools = self._coming.get(name)
        if tools is None:
            raise PeerError("TOOLS goes on where it did not begin")
        tools += part.tools
        self._sizes[name] += len(payload)
        if (
            len(tools) > MAX_TOOLS
            or len(self._sizes) > MAX_CATALOG_UPSTREAMS
            or sum(self._sizes.values()) > MAX_TOOLS_BYTES
        ):
            raise TooBigError("too many tools")
        if part.more:
            return None
        del self._coming[name]
        if len({tool.name for tool in tools}) != len(tools):
            raise PeerError("a tool is told twice")
        return name, tools
