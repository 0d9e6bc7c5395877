"""What a message asks for, in the words of a policy, and which results are lists. Pure.

Both programs read a message by these, so that relay and client judge one and the same thing.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from shared.jsonrpc.envelope import Envelope, Kind
from shared.jsonrpc.methods import OF_A_URI
from shared.policy.classes import ToolClass
from shared.policy.methods import TOOL
from shared.policy.model import Action


def action_of(server: str, envelope: Envelope, tool_class: ToolClass | None) -> Action | None:
    """Return what a request or a notification asks for; None for a response, which asks nothing."""
    method, params = envelope.method, envelope.params or {}
    if method is None or envelope.kind is Kind.RESPONSE:
        return None
    name, args = envelope.name, None
    if method == TOOL or method == "prompts/get":
        args = _object(params.get("arguments"))
    elif method == "completion/complete":
        ref = _object(params.get("ref")) or {}
        name = _text(ref.get("name")) if ref.get("type") == "ref/prompt" else _text(ref.get("uri"))
        args = _object(params.get("argument"))
    elif method in OF_A_URI:
        name = _text(params.get("uri"))
    return Action(server, method, name, tool_class if method == TOOL else None, args)


class Listed(NamedTuple):
    """A method whose result is a list: the member it stands in, what using an entry would be."""

    member: str
    method: str
    name: str


LISTS: Mapping[str, Listed] = {
    "tools/list": Listed("tools", TOOL, "name"),
    "prompts/list": Listed("prompts", "prompts/get", "name"),
    "resources/list": Listed("resources", "resources/read", "uri"),
    "resources/templates/list": Listed("resourceTemplates", "resources/read", "uriTemplate"),
}


def filtered(
    document: dict[str, Any], listed: Listed, keep: Callable[[list[Any]], list[Any]]
) -> dict[str, Any] | None:
    """Return the response with the entries that `keep` returns; None when it keeps them all.

    A list that one user sees less of is no longer for everybody: `cacheScope` becomes private.
    """
    result = document.get("result")
    entries = result.get(listed.member) if isinstance(result, dict) else None
    if not isinstance(result, dict) or not isinstance(entries, list):
        return None
    kept = keep(entries)
    if len(kept) == len(entries):
        return None
    changed = {**result, listed.member: kept}
    if changed.get("cacheScope") == "public":
        changed["cacheScope"] = "private"
    return {**document, "result": changed}


def entry_name(entry: object, listed: Listed) -> str | None:
    """Return what an entry of a list is called, None when it has no name."""
    return _text(entry.get(listed.name)) if isinstance(entry, dict) else None


def _object(value: object) -> Mapping[str, Any] | None:
    return value if isinstance(value, dict) else None


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None
