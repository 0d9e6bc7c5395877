"""What no file of the catalogue may hold, whichever it is."""

import json
from pathlib import Path
from typing import Any

BROKEN: tuple[tuple[Any, str], ...] = (
    (b"", "EOF"),
    (b"{", "EOF"),
    (b'{"version": 1, "version": 1, "upstreams": {}}', "duplicate"),
    (b"\xff", "line 1"),
    (b"[" * 5000, "recursion"),
    ([], "version and upstreams"),
    ({"version": 2, "upstreams": {}}, "version 2"),
    ({"version": True, "upstreams": {}}, "version True"),
    ({"version": 1, "upstreams": []}, "not an object"),
    ({"version": 1, "upstreams": {"A b": {}}}, "not one of an upstream"),
)
"""Contents, bytes or what is written as JSON, and what is said of them."""


def put(path: Path, content: Any) -> bytes:
    """Write a content as the private file it should be; returns its bytes."""
    raw = content if isinstance(content, bytes) else json.dumps(content).encode()
    path.write_bytes(raw)
    path.chmod(0o600)
    return raw
