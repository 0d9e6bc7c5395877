"""One scanner for everything a server lists: every text at any depth, names and values alike. Pure.

It never follows a reference and fetches nothing. It flags; a person and the policy decide.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from shared.escape import escaped
from shared.jsonrpc.param_headers import ANNOTATION
from shared.policy.methods import TOOL_NAME
from tunnel_client.catalog.definitions import Item, Kind
from tunnel_client.catalog.scan_text import HIDING, NOTES, Code, mentions, scan_text, skeleton

MAX_FLAGS = 20
"""For one item; whoever has so many is not read to the end."""
MAX_NODES = 20_000
MAX_CHARACTERS = 384 * 1024
"""Names and values together. More is flagged, not read: no person would read it either."""
_KEY = re.compile(r"[\x21-\x7e](?:[\x20-\x7e]{0,126}[\x21-\x7e])?")
_REFERENCES = frozenset({"$ref", "$dynamicRef", "$recursiveRef"})
_SECRET = re.compile(
    r"pass(?:word|wd|phrase|code)|secret|token|api[-_ ]?key|auth|credential|private[-_ ]?key"
    r"|cookie|bearer|\bssn\b|\bpin\b|signature",
    re.IGNORECASE,
)
_MAX_PATH = 200


class Flag(NamedTuple):
    """One finding: what, where in the definition, and an excerpt in printable ASCII."""

    code: Code
    path: str
    excerpt: str

    def as_dict(self) -> dict[str, str]:
        """Return it for JSON."""
        return {"code": self.code.value, "path": self.path, "excerpt": self.excerpt}


@dataclass(frozen=True, slots=True)
class Known:
    """Names that one upstream should not speak of, and all tools' names by how they look."""

    names: Mapping[str, Code] = field(default_factory=dict)
    skeletons: Mapping[str, frozenset[str]] = field(default_factory=dict)


NOBODY = Known()


def known_to(upstream: str, tools: Mapping[str, Iterable[str]]) -> Known:
    """Return what is known to an upstream's scanner; `tools` are the names at every upstream."""
    names: dict[str, Code] = {}
    looks: dict[str, set[str]] = {}
    for where, listed in tools.items():
        if where != upstream:
            names[where] = Code.OTHER_SERVER
        for name in listed:
            looks.setdefault(skeleton(name), set()).add(name)
            if where != upstream:
                names[name.lower()] = Code.OTHER_TOOL
    return Known(names, {look: frozenset(found) for look, found in looks.items()})


def scan(item: Item, known: Known = NOBODY) -> tuple[Flag, ...]:
    """Return what is odd about an item, at most `MAX_FLAGS`; total."""
    found: dict[tuple[Code, str], Flag] = {}
    for flag in _flags(item, known):
        found.setdefault((flag.code, flag.path), flag)
        if len(found) >= MAX_FLAGS:
            break
    return tuple(found.values())


def hides(flags: Iterable[Flag]) -> bool:
    """Tell whether a person who reads the item would not see all of it."""
    return any(flag.code in HIDING for flag in flags)


def counts(flags: Iterable[Flag]) -> bool:
    """Tell whether there is more than notes."""
    return any(flag.code not in NOTES for flag in flags)


def _flags(item: Item, known: Known) -> Iterator[Flag]:
    if item.leaks:
        yield Flag(Code.CREDENTIAL, "", "the credential of this upstream stood in it")
    yield from _name(item, known)
    own = item.name.lower()
    names = {name: code for name, code in known.names.items() if name != own}
    nodes = characters = 0
    waiting: list[tuple[str, Any]] = [("", item.value())]
    while waiting:
        path, value = waiting.pop()
        nodes += 1
        if isinstance(value, str):
            yield from _text(path, value[: MAX_CHARACTERS - characters], names)
            characters += len(value)
        elif isinstance(value, list):
            inside = [(f"{path}[{at}]", each) for at, each in enumerate(value)]
            waiting += reversed(inside)
        elif isinstance(value, dict):
            for key, each in value.items():
                characters += len(key)
                yield from _key(path, key[:MAX_CHARACTERS], names)
                yield from _member(path, key, each, value)
            inside = [(_below(path, key), each) for key, each in value.items()]
            waiting += reversed(inside)
        if characters > MAX_CHARACTERS or nodes + len(waiting) > MAX_NODES:
            yield Flag(Code.TOO_LARGE, path, "the rest was not looked at")
            return


def _name(item: Item, known: Known) -> Iterator[Flag]:
    if item.kind is Kind.TOOL and TOOL_NAME.fullmatch(item.name) is None:
        yield Flag(Code.BAD_NAME, "name", escaped(item.name[:80], ascii_only=True))
    if item.kind is Kind.TOOL:
        if known.names.get(item.name.lower()) is Code.OTHER_TOOL:
            yield Flag(Code.OTHER_TOOL, "name", "another server has a tool of this name")
        alike = known.skeletons.get(skeleton(item.name), frozenset()) - {item.name}
        if alike:
            yield Flag(Code.LOOK_ALIKE, "name", f"looks like {escaped(min(alike), True)}")


def _text(path: str, text: str, names: Mapping[str, Code]) -> Iterator[Flag]:
    for code, excerpt in scan_text(text):
        yield Flag(code, path, excerpt)
    if names:
        for code, excerpt in mentions(text, names):
            yield Flag(code, path, excerpt)


def _key(path: str, key: str, names: Mapping[str, Code]) -> Iterator[Flag]:
    if _KEY.fullmatch(key) is None:
        yield Flag(Code.BAD_NAME, _below(path, key), escaped(key[:80], ascii_only=True))
    if len(key) > 12 or not key.isascii():
        yield from _text(_below(path, key), key, names)


def _member(path: str, key: str, value: object, beside: Mapping[str, Any]) -> Iterator[Flag]:
    """Look at members that mean something to whoever reads a schema."""
    if key in _REFERENCES and isinstance(value, str) and not value.startswith("#"):
        yield Flag(Code.REMOTE_REF, _below(path, key), escaped(value[:80], ascii_only=True))
    if key == ANNOTATION:
        says = f"{path.rpartition('.')[2]} {value}"
        hidden = beside.get("format") == "password" or beside.get("writeOnly") is True
        if hidden or _SECRET.search(says[:400]):
            yield Flag(Code.SECRET_HEADER, path, escaped(says[:80], ascii_only=True))


def _below(path: str, key: str) -> str:
    step = escaped(key[:40], ascii_only=True).replace("\n", " ").replace("\t", " ")
    below = f"{path}.{step}" if path else step
    return below if len(below) <= _MAX_PATH else "..." + below[3 - _MAX_PATH :]
