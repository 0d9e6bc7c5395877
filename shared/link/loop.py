"""Runs a program's main coroutine on the event loop that links are measured on."""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


def run(main: Coroutine[Any, Any, T]) -> T:
    """Run `main` on uvloop where it is installed, else on asyncio's own loop."""
    name_the_loop()
    try:
        import uvloop
    except ImportError:
        return asyncio.run(main)
    result: T = uvloop.run(main)
    return result


def name_the_loop() -> None:
    """Say that this thread runs asyncio, for anyio's objects made in callbacks of the loop.

    Where another package brought sniffio along, anyio asks it, and it sees asyncio inside a task
    only: links, which live on callbacks, would all fail.
    """
    try:
        import sniffio
    except ImportError:
        return
    sniffio.thread_local.name = "asyncio"
