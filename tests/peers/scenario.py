"""What every peer is asked to do, as values that also fit in a JSON file.

Six clients in three languages read the same file, so that a cell of the matrix differs from its
neighbours only in the client and the server. Standard library only: one client lives in an
environment of its own.
"""

import hashlib
import json
from pathlib import Path
from typing import Literal, NotRequired, TypedDict

STEPS = ("connect", "list", "call", "progress", "cancel", "large")
STEP_SECONDS = 20.0
HEARD_SECONDS = 5.0
"""Longest wait for the server to hear of a cancelled call."""

Outcome = Literal["ok", "fail", "skip"]


class ToolCall(TypedDict):
    """One tool call and what its answer must look like."""

    tool: str
    arguments: dict[str, object]
    expect: str
    """Text that must occur in the answer."""
    min_characters: NotRequired[int]
    pipe: NotRequired[str]
    """A named pipe that the tool reads: the call lasts as long as somebody may still write."""
    messages: NotRequired[str]
    """Where the recorder notes what reached the server of the piped call."""


class Target(TypedDict):
    """The content of the file a client program is given.

    Exactly one of `url` and `argv` is present. `token_file` holds the bearer token, so that it is
    in no argument list and no environment.
    """

    server: str
    steps: dict[str, ToolCall]
    url: NotRequired[str]
    token_file: NotRequired[str]
    argv: NotRequired[list[str]]


class Row(TypedDict):
    """One JSON line that a client program prints: how one step went."""

    step: str
    outcome: Outcome
    detail: str
    era: str | None
    """The protocol version agreed on, `None` while nothing is."""


def read_target(path: Path) -> Target:
    """Read the file a client program is given; `OSError` or `ValueError` when it is not one."""
    target: Target = json.loads(path.read_text(encoding="utf-8"))
    return target


def read_token(target: Target) -> str | None:
    """Return the bearer token, `None` when the target needs none."""
    if "token_file" not in target:
        return None
    return Path(target["token_file"]).read_text(encoding="ascii").strip()


def size_and_digest(text: str) -> str:
    """Say how long a text is and what it hashes to; equal texts give equal words in any client."""
    digest = hashlib.sha256(text.encode()).hexdigest()[:12]
    return f"{len(text)} characters, sha256 {digest}"


def names_and_digest(names: list[str]) -> str:
    """Say how many tools there are, in words that differ when any name does."""
    digest = hashlib.sha256("\n".join(sorted(names)).encode()).hexdigest()[:12]
    return f"{len(names)} tools, sha256 {digest}"


def complaint(call: ToolCall, text: str, *, is_error: bool) -> str | None:
    """Say what is wrong with an answer, `None` when it is as expected."""
    if is_error:
        return f"{call['tool']} answered isError: {text[:200]}"
    if call["expect"] not in text:
        return f"{call['expect']!r} is not in the answer: {text[:200]}"
    if len(text) < call.get("min_characters", 0):
        return f"only {len(text)} characters"
    return None
