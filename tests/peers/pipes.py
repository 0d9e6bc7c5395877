"""A tool call that lasts exactly as long as we want: the tool reads a named pipe.

Opening the writing end without waiting fails until somebody reads, so success says that the call
has reached its server. While the writing end stays open, the reader waits; closing it ends the
call. If this program dies, the kernel closes it.
"""

import errno
import json
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import anyio

from tests.peers.scenario import HEARD_SECONDS, ToolCall

POLL_SECONDS = 0.02


@asynccontextmanager
async def held_open(pipe: Path) -> AsyncIterator[None]:
    """Wait until the pipe is being read, and keep its reader waiting for the body of the `with`.

    The caller bounds the wait.
    """
    writer = _writing_end(pipe)
    while writer is None:
        await anyio.sleep(POLL_SECONDS)
        writer = _writing_end(pipe)
    try:
        yield
    finally:
        os.close(writer)


async def cancel_heard(call: ToolCall) -> bool:
    """Wait until the server was told of a cancelled piped call; False when it never is."""
    messages = Path(call["messages"])
    with anyio.move_on_after(HEARD_SECONDS):
        # Another program writes the file: there is no event to wait for.
        while not _was_heard(messages, call["tool"]):  # noqa: ASYNC110
            await anyio.sleep(POLL_SECONDS)
        return True
    return False


def _was_heard(messages: Path, tool: str) -> bool:
    """Say whether a call of that tool was cancelled, by the call's own id."""
    calls: set[object] = set()
    for line in messages.read_text(encoding="utf-8").splitlines():
        seen = json.loads(line)
        if seen["method"] == "tools/call" and seen.get("tool") == tool:
            calls.add(seen["id"])
        if seen["method"] == "notifications/cancelled" and seen["id"] in calls:
            return True
    return False


def release_readers(pipe: Path) -> None:
    """Let go whoever still reads the pipe because a client ended in mid-call."""
    with suppress(FileNotFoundError):
        writer = _writing_end(pipe)
        if writer is not None:
            os.close(writer)


def _writing_end(pipe: Path) -> int | None:
    try:
        return os.open(pipe, os.O_WRONLY | os.O_NONBLOCK)
    except OSError as error:
        if error.errno != errno.ENXIO:
            raise
        return None
