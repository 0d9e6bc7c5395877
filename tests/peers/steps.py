"""The steps, for clients written in Python; prints one JSON line per step.

Runs in two environments with different MCP libraries, so it knows neither: a client offers itself
as a `Peer`.
"""

import json
import math
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import NamedTuple, Protocol

import anyio

from tests.peers import pipes
from tests.peers.scenario import (
    STEP_SECONDS,
    STEPS,
    Outcome,
    Row,
    Target,
    ToolCall,
    complaint,
    names_and_digest,
    size_and_digest,
)


class Answer(NamedTuple):
    """A tool result: its text blocks joined, and whether the tool called it an error."""

    text: str
    is_error: bool


class Peer(Protocol):
    """A connected client."""

    @property
    def era(self) -> str | None:
        """The protocol version agreed on."""
        ...

    async def tools(self) -> list[str]:
        """Return the names of all tools."""
        ...

    async def call(self, call: ToolCall, on_progress: Callable[[], None] | None = None) -> Answer:
        """Call a tool; cancelling the awaiting task cancels the call at the server."""
        ...


class StepFailed(Exception):  # noqa: N818 - it is how a step ends, no fault of ours
    """A step did not go as it should."""


def report(step: str, outcome: Outcome, detail: str, era: str | None) -> None:
    """Print one row."""
    row: Row = {"step": step, "outcome": outcome, "detail": detail, "era": era}
    print(json.dumps(row), flush=True)  # noqa: T201 - the lines are this program's result


def reason(error: BaseException) -> str:
    """Say what went wrong in one line: the innermost errors of a group, with their types."""
    if isinstance(error, BaseExceptionGroup):
        return "; ".join(reason(inner) for inner in error.exceptions)
    return f"{type(error).__name__}: {str(error)[:300]}"


async def run(connect: Callable[[], AbstractAsyncContextManager[Peer]], target: Target) -> None:
    """Connect and do every step the target asks for; a failed connection ends it."""
    connected = False
    try:
        with anyio.fail_after(STEP_SECONDS) as connecting:
            async with connect() as peer:
                connecting.deadline = math.inf
                connected = True
                report("connect", "ok", "", peer.era)
                for step in STEPS[1:]:
                    if step == "list" or step in target["steps"]:
                        await _report_step(step, peer, target)
                connecting.deadline = anyio.current_time() + STEP_SECONDS
    except Exception as error:  # noqa: BLE001 - whatever a peer raises is a row of the table
        report("close" if connected else "connect", "fail", reason(error), None)


async def _report_step(step: str, peer: Peer, target: Target) -> None:
    try:
        with anyio.fail_after(STEP_SECONDS):
            detail = await _do(step, peer, target)
    except Exception as error:  # noqa: BLE001 - whatever a peer raises is a row of the table
        report(step, "fail", reason(error), peer.era)
    else:
        report(step, "ok", detail, peer.era)


def _do(step: str, peer: Peer, target: Target) -> Awaitable[str]:
    if step == "list":
        return _list(peer, target["steps"]["call"])
    wanted = target["steps"][step]
    if step == "progress":
        return _progress(peer, wanted)
    if step == "cancel":
        return _cancel(peer, wanted, then=target["steps"]["call"])
    return _call(peer, wanted)


async def _list(peer: Peer, call: ToolCall) -> str:
    names = await peer.tools()
    if call["tool"] not in names:
        raise StepFailed(f"no tool {call['tool']} among {names}")
    return names_and_digest(names)


async def _call(peer: Peer, call: ToolCall) -> str:
    answer = await peer.call(call)
    _check(call, answer)
    return size_and_digest(answer.text) if "min_characters" in call else ""


async def _progress(peer: Peer, call: ToolCall) -> str:
    count = 0

    def on_progress() -> None:
        nonlocal count
        count += 1

    _check(call, await peer.call(call, on_progress))
    if count == 0:
        raise StepFailed("the answer came without any progress")
    return f"{count} reports"


async def _cancel(peer: Peer, call: ToolCall, then: ToolCall) -> str:
    began = anyio.Event()
    ended = anyio.Event()
    scope = anyio.CancelScope()
    answers: list[Answer] = []

    async def long_call() -> None:
        with scope:
            answers.append(await peer.call(call, began.set))
        began.set()
        ended.set()

    async def cancel() -> None:
        scope.cancel()
        await ended.wait()
        if "pipe" in call:
            # A call that is let go earlier ends by itself, and then there is nothing to cancel.
            await pipes.cancel_heard(call)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(long_call)
        if "pipe" in call:
            async with pipes.held_open(Path(call["pipe"])):
                await cancel()
        else:
            await began.wait()
            await cancel()
    if answers:
        raise StepFailed(f"answered instead of being cancelled: {answers[0].text[:200]}")
    _check(then, await peer.call(then))
    return "cancelled in mid-call, the next call answered"


def _check(call: ToolCall, answer: Answer) -> None:
    wrong = complaint(call, answer.text, is_error=answer.is_error)
    if wrong is not None:
        raise StepFailed(wrong)
