"""Where the tasks of a running program wait: names and lines of code, no locals."""

import asyncio
from pathlib import PurePath
from types import CodeType
from typing import Any

MAX_TASKS = 1000
MAX_AWAITS = 20


def tasks() -> list[dict[str, Any]]:
    """Return every task of the running loop and where it waits; no locals, no arguments."""
    found = sorted(asyncio.all_tasks(), key=lambda task: task.get_name())
    return [{"name": task.get_name(), "waits": _waits(task)} for task in found[:MAX_TASKS]]


def _waits(task: "asyncio.Task[Any]") -> list[str]:
    at: Any = task.get_coro()
    places: list[str] = []
    while at is not None and len(places) < MAX_AWAITS:
        code = getattr(at, "cr_code", None)
        frame = getattr(at, "cr_frame", None)
        if not isinstance(code, CodeType):
            break
        line = frame.f_lineno if frame is not None else 0
        places.append(f"{code.co_qualname} ({PurePath(code.co_filename).name}:{line})")
        at = getattr(at, "cr_await", None)
    return places
