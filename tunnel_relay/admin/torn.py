"""Refuses texts that no log, no database and no JSON can hold, before anybody acts on them."""

import json
from collections.abc import Mapping
from typing import Any

from shared.escape import is_text, one_line
from tunnel_relay.errors import Code, RelayError


def refuse_torn(arguments: Mapping[str, Any]) -> None:
    """Raise RelayError when a text in the arguments cannot be written in UTF-8."""
    for name, value in arguments.items():
        if not is_text(json.dumps([name, value], ensure_ascii=False, default=str)):
            raise RelayError(Code.BAD_REQUEST, f"{one_line(name)}: give text in UTF-8")
