"""Reads what an upstream sent as strictly as `envelope` reads agents, so far as rules look.

Agents may be written in Go or .NET, whose readers take `Tools` for `tools`: a list under that name
would reach them past the pins. So a name that some decision rests on has one spelling.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import jiter

from shared.jsonrpc.envelope import INVALID_REQUEST, PARSE_ERROR, EnvelopeError

Known = Mapping[str, str]


def _folded(*names: str) -> dict[str, str]:
    return {name.casefold(): name for name in names}


_TOP = _folded("jsonrpc", "id", "method", "params", "result", "error")
_RESULT = _folded(
    *("tools", "prompts", "resources", "resourceTemplates", "instructions", "cacheScope"),
    *("inputRequests", "requestState", "resultType", "tasks", "task", "taskId"),
)
_ERROR = _folded("code", "message", "data")
_DATA = _folded("elicitations")
_ASKED = _folded("method", "params")
# The members of what a server asks, as MCP had them in 2025-11-25 and has them in 2026-07-28.
_PAGE = _folded("mode", "url", "message", "requestedSchema", "elicitationId", "task", "_meta")
_PARAMS = _PAGE | _folded(
    *("messages", "tools", "toolChoice", "systemPrompt", "modelPreferences", "includeContext"),
    *("maxTokens", "temperature", "stopSequences", "metadata"),
)
_ANY: Known = {}


def read_strict(text: bytes, *, exactly: bool = False) -> dict[str, Any]:
    """Read a message that an upstream sent; raises EnvelopeError. `exactly` keeps every digit.

    No key comes twice at any depth. Where rules look, none comes twice but for its case, nor is a
    known one but for it; further in, what is said is the upstream's (a schema may well have both
    `a` and `A`). No batch: no request is one.
    """
    try:
        document = jiter.from_json(
            text,
            allow_inf_nan=False,
            cache_mode="keys",
            catch_duplicate_keys=True,
            float_mode="decimal" if exactly else "float",
        )
    except ValueError:
        raise EnvelopeError(PARSE_ERROR, "Parse error: not strict JSON") from None
    if type(document) is not dict:
        raise EnvelopeError(INVALID_REQUEST, "Body must be a single JSON-RPC message object")
    for members, known in _looked_at(document):
        if type(members) is dict:
            _check_names(members, known)
    return document


def _looked_at(document: dict[str, Any]) -> Iterator[tuple[Any, Known]]:
    """Yield what decisions rest on, with the names that they look for there."""
    result, error = document.get("result"), document.get("error")
    yield document, _TOP
    yield document.get("params"), _ANY if _notifies(document) else _PARAMS
    if type(result) is dict:
        yield result, _RESULT
        asked = result.get("inputRequests")
        for one in asked.values() if type(asked) is dict else ():
            if type(one) is dict:
                yield one, _ASKED
                yield one.get("params"), _PARAMS
    if type(error) is dict:
        data = error.get("data")
        yield error, _ERROR
        if type(data) is dict:
            yield data, _DATA
            pages = data.get("elicitations")
            for page in pages if type(pages) is list else ():
                yield page, _PAGE


def _notifies(document: dict[str, Any]) -> bool:
    """Tell whether no rule looks at its `params`."""
    method = document.get("method")
    return type(method) is str and method.startswith("notifications/")


def _check_names(members: dict[str, Any], known: Known) -> None:
    folded = [*map(str.casefold, members)]
    if len({*folded}) != len(folded):
        raise EnvelopeError(PARSE_ERROR, "Parse error: duplicate keys but for case")
    for name, fold in zip(members, folded, strict=True):
        if known.get(fold, name) != name:
            raise EnvelopeError(INVALID_REQUEST, "a member is a known one but for its case")
