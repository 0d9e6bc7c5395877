"""What in a record is for auditors only, and the record without it; pure.

An admin sees who called what and what became of it. What agents wrote, where people were and what
they said about each other is not needed for that.
"""

from collections.abc import Mapping
from typing import Any

HIDDEN = "(for auditors)"
NAMES = frozenset(
    {"claimed", "source", "address", "reason", "why", "text", "message", "error", "headers"}
)
"""Members that hold what somebody said, or where they were. `why` only where it is a text."""
_TAG = "hmac:"


def without(record: Mapping[str, Any]) -> dict[str, Any]:
    """Return the record with what is for auditors replaced; tags of arguments stay."""
    shown = {name: _shown(name, value) for name, value in record.items()}
    given = record.get("arguments")
    if isinstance(given, Mapping) and str(record.get("kind", "")).startswith("call."):
        shown["arguments"] = {name: _tagged(value) for name, value in given.items()}
    return shown


def _shown(name: str, value: Any) -> Any:
    if isinstance(value, Mapping):
        return {each: _shown(each, inner) for each, inner in value.items()}
    if name in NAMES and value not in (None, ""):
        return HIDDEN
    if isinstance(value, list):
        return [_shown("", each) for each in value]
    return value


def _tagged(value: Any) -> Any:
    return value if isinstance(value, str) and value.startswith(_TAG) else HIDDEN
