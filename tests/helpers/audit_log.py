"""Read a log as anybody can who has its files: lines of JSON, and nothing of ours."""

import base64
import json
from pathlib import Path
from typing import Any

Record = dict[str, Any]


def records(folder: Path, kind: str = "") -> list[Record]:
    """Return the records of a log in order, those of one kind when it is named."""
    found = []
    for path in sorted(folder.glob("*.jsonl")):
        for line in path.read_bytes().splitlines(keepends=True):
            if line.endswith(b"\n"):
                found.append(json.loads(line)["record"])
    return [each for each in found if not kind or each["kind"] == kind]


def hiding(canary: str) -> list[bytes]:
    """Return the spellings in which a secret could hide."""
    raw = canary.encode()
    return [raw, base64.b64encode(raw).rstrip(b"="), raw.hex().encode()]


def holding(folder: Path, canary: str) -> list[str]:
    """Return the files of a folder that hold a secret, in any spelling."""
    return [
        path.name
        for path in sorted(folder.rglob("*"))
        if path.is_file() and any(each in path.read_bytes() for each in hiding(canary))
    ]
