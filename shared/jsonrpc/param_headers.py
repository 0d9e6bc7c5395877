"""`Mcp-Param-*` headers equal the arguments that a tool's schema mirrors into them.

Source: 2026-07-28, transports, "Custom headers" (SEP-2243).
"""

import re
from collections.abc import Iterator
from typing import Any, NamedTuple

from shared.jsonrpc.envelope import HEADER_MISMATCH, Envelope, EnvelopeError
from shared.jsonrpc.header_values import Headers, decode_value, text_of

ANNOTATION = "x-mcp-header"
PARAM_PREFIX = b"mcp-param-"

_TOKEN = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_TYPES = frozenset({"string", "integer", "boolean"})
_DECIMAL = re.compile(r"(-?[0-9]+)(?:\.0+)?")

# Keywords of JSON Schema 2020-12 that hold schemas, by the shape of what they hold. Keywords that
# hold data (`default`, `enum`, ...) are not schemas, and references are never followed.
_HOLD_ONE = frozenset(
    {
        *("items", "contains", "unevaluatedItems", "additionalProperties", "propertyNames"),
        *("unevaluatedProperties", "not", "if", "then", "else", "contentSchema"),
    }
)
_HOLD_LIST = frozenset({"allOf", "anyOf", "oneOf", "prefixItems"})
_HOLD_MAP = frozenset({"patternProperties", "dependentSchemas", "$defs", "definitions"})

Path = tuple[str, ...]


class Mirrored(NamedTuple):
    """One argument that travels in a header too: its path, the header's name, its schema type."""

    path: Path
    header: bytes
    type: str


def mirrored(schema: object) -> tuple[Mirrored, ...]:
    """Find the arguments a tool's input schema mirrors into headers; total.

    One bad annotation anywhere makes it none at all: agents then drop the tool and send no header.
    """
    found: dict[bytes, Mirrored] = {}
    for path, node in _schemas(schema):
        if ANNOTATION not in node:
            continue
        name, kind = node[ANNOTATION], node.get("type")
        if not path or type(name) is not str or type(kind) is not str or kind not in _TYPES:
            return ()
        if not _TOKEN.fullmatch(name):
            return ()
        header = PARAM_PREFIX + name.lower().encode()
        if header in found:
            return ()
        found[header] = Mirrored(path, header, kind)
    return tuple(found.values())


def check_params(schema: object, envelope: Envelope, headers: Headers) -> None:
    """Check a `tools/call` against the input schema of its tool; raises EnvelopeError (-32020).

    Headers of parameters that the schema does not name are ignored, as the specification asks.
    """
    check_mirrored(mirrored(schema), envelope, headers)


def check_mirrored(wanted: tuple[Mirrored, ...], envelope: Envelope, headers: Headers) -> None:
    """Do as `check_params` with what `mirrored` found before."""
    arguments = {} if envelope.params is None else envelope.params.get("arguments")
    if not wanted or envelope.method != "tools/call" or not isinstance(arguments, dict | None):
        return
    sent: dict[bytes, list[str]] = {}
    for name, value in headers:
        if name.startswith(PARAM_PREFIX):
            sent.setdefault(name, []).append(text_of(value))
    for one in wanted:
        fault = _fault(one, _argument(arguments, one.path), sent.get(one.header, []))
        if fault is not None:
            message = f"{one.header.decode()} header {fault}"
            raise EnvelopeError(HEADER_MISMATCH, message, envelope.id)


def shown_argument(one: Mirrored, envelope: Envelope) -> str | None:
    """Return what the header of one argument must say, before encoding; None: no such header."""
    arguments = (envelope.params or {}).get("arguments")
    return _shown(_argument(arguments, one.path))


def _fault(one: Mirrored, value: Any, sent: list[str]) -> str | None:
    """Say what is wrong with the headers sent for one argument; None when nothing is."""
    if len(sent) > 1:
        return "appears more than once"
    shown = _shown(value)
    if shown is None:
        return "has no argument that it could mirror" if sent else None
    if not sent:
        return "is missing"
    given = decode_value(sent[0])
    if given is None:
        return "is not valid base64"
    if given == shown or (one.type == "integer" and _same_integer(given, value)):
        return None
    return "does not match the argument"


def _shown(value: Any) -> str | None:
    """Write a value as an agent mirrors it; None for null, absent and what has no such form."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value) if isinstance(value, str | int | float) else None


def _same_integer(given: str, value: Any) -> bool:
    """Compare numerically, without floats: 42 is 42.0, and 2**53 + 1 is not 2**53."""
    decimal = _DECIMAL.fullmatch(given)
    if decimal is None or isinstance(value, bool | str):
        return False
    if isinstance(value, float) and not value.is_integer():
        return False
    try:
        return int(decimal[1]) == int(value)
    except ValueError:  # more digits than Python converts
        return False


def _argument(node: Any, path: Path) -> Any:
    for key in path:
        if type(node) is not dict:
            return None
        node = node.get(key)
    return node


def _schemas(root: object) -> Iterator[tuple[Path | None, dict[str, Any]]]:
    """Walk every schema in a schema; the path is None off the plain chain of `properties`.

    A list instead of recursion: upstreams write schemas, and may nest them as deep as they like.
    """
    todo: list[tuple[Path | None, Any]] = [((), root)]
    while todo:
        path, node = todo.pop()
        if type(node) is not dict:
            continue
        yield path, node
        for keyword, held in node.items():
            if keyword == "properties" and type(held) is dict:
                todo += [
                    (None if path is None else (*path, name), below) for name, below in held.items()
                ]
            elif keyword in _HOLD_ONE:
                todo.append((None, held))
            elif keyword in _HOLD_LIST and type(held) is list:
                todo += [(None, below) for below in held]
            elif keyword in _HOLD_MAP and type(held) is dict:
                todo += [(None, below) for below in held.values()]
