"""How answers look on a terminal."""

import shlex
from collections.abc import Mapping
from typing import Any

from tunnel_client.settings import UpstreamSettings


def as_text(answer: Mapping[str, Any], indent: str = "") -> str:
    """Write nested values as aligned lines: `key  value`, entries of a list one to a line."""
    width = max((len(str(key)) for key in answer), default=0)
    lines: list[str] = []
    for key, value in answer.items():
        if isinstance(value, Mapping):
            lines += [f"{indent}{key}", as_text(value, indent + "  ")]
        elif isinstance(value, list):
            lines.append(f"{indent}{key}")
            lines += [f"{indent}  {_entry(entry)}" for entry in value] or [f"{indent}  none"]
        else:
            lines.append(f"{indent}{key:<{width}}  {_plain(value)}")
    return "\n".join(lines)


def upstream_row(upstream: UpstreamSettings) -> dict[str, str]:
    """Return what a listing shows of an upstream: name, kind and where it is."""
    if upstream.url is not None:
        return {"name": upstream.name, "kind": "http", "target": upstream.url}
    command = shlex.join(upstream.command or [])
    return {"name": upstream.name, "kind": "stdio", "target": command}


def _entry(entry: object) -> str:
    if isinstance(entry, Mapping):
        return "  ".join(f"{key}={_plain(value)}" for key, value in entry.items())
    return _plain(entry)


def _plain(value: object) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    text = str(value).replace("\n", " ")
    return "".join(char if char.isprintable() else "?" for char in text)
