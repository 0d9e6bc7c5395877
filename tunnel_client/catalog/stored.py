"""Files of the catalogue in the state folder: JSON by upstream, read and written whole.

One that is broken, or that others could change, is an error and never an empty one.
"""

import json
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

import jiter

from shared.ids import is_name
from tunnel_client.errors import StateWriteError
from tunnel_client.errors_upstreams import BrokenPinsError
from tunnel_client.files import owners_of, read_guarded, write_private

VERSION = 1
MAX_FILE_BYTES = 64 * 1024 * 1024
SHA256 = re.compile(r"[0-9a-f]{64}")

_Found = TypeVar("_Found")


def read_json(
    path: Path, decode: Callable[[object], _Found], broken: Callable[[str], BrokenPinsError]
) -> _Found | None:
    """Return what `decode` makes of a file, None when there is none.

    `decode` raises ValueError for what is not as it was written. Raises what `broken` makes of the
    cause, and UnsafeFileError.
    """
    try:
        raw = read_guarded(
            path, forbidden=0o077, owners=owners_of(path.parent), links=False, limit=MAX_FILE_BYTES
        )
    except FileNotFoundError:
        return None
    except OSError as error:
        raise broken(f"cannot read {path}: {error.strerror}") from None
    try:
        return decode(jiter.from_json(raw, catch_duplicate_keys=True, allow_inf_nan=False))
    except ValueError as error:
        raise broken(f"{path}: {error}") from None


def write_json(path: Path, upstreams: Mapping[str, Any]) -> None:
    """Write a file, whole or not at all; raises StateWriteError."""
    whole = {"version": VERSION, "upstreams": upstreams}
    content = json.dumps(whole, indent=1, ensure_ascii=False).encode()
    if len(content) > MAX_FILE_BYTES:
        raise StateWriteError(f"{path} would be larger than 64 MiB: pin fewer tools")
    try:
        write_private(path, content, owner=path.parent.stat() if os.geteuid() == 0 else None)
    except OSError as error:
        raise StateWriteError(f"cannot write {path}: {error.strerror}") from None


def upstreams_of(whole: object) -> Iterator[tuple[str, Any]]:
    """Yield what a file has of each upstream; raises ValueError."""
    if not isinstance(whole, dict) or set(whole) != {"version", "upstreams"}:
        raise ValueError("it is an object of version and upstreams")
    if type(whole["version"]) is not int or whole["version"] != VERSION:
        raise ValueError(f"version {whole['version']!r} is not one this program knows")
    for upstream, value in members(whole["upstreams"], "upstreams"):
        if not is_name(upstream):
            raise ValueError("a name under upstreams is not one of an upstream")
        yield upstream, value


def members(value: object, where: str) -> Iterable[tuple[str, Any]]:
    """Return the members of an object; raises ValueError for anything else."""
    if not isinstance(value, dict):
        raise ValueError(f"{where} is not an object")
    return value.items()
