"""The tools an operator has pinned, with the classes they got; for commands that show policy."""

import json
from pathlib import Path
from typing import Any

from shared import ours
from shared.policy.classes import ToolClass
from tunnel_client.files import read_guarded

PINS = "pins.json"


def known_tools(state_dir: Path) -> list[tuple[str, str, ToolClass | None]]:
    """Return server, tool and class of every pin; none when there is no file of pins yet.

    Raises UnsafeFileError. A file that cannot be read as pins counts as none: what serves reports
    that, this only shows.
    """
    try:
        raw = read_guarded(state_dir / PINS, forbidden=0o022, owners=(0, *ours.owners()))
        pins = json.loads(raw)
    except (OSError, ValueError):
        return []
    return [
        (server, tool, _class(pin))
        for server, entry in _members(_members(pins).get("upstreams")).items()
        for tool, pin in _members(_members(entry).get("tools")).items()
    ]


def _members(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _class(pin: object) -> ToolClass | None:
    word = _members(pin).get("class")
    return next((one for one in ToolClass if one == word), None)
