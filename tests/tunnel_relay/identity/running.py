"""Runs what never ends beside a test."""

from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import anyio

DEADLINE = 20.0


@asynccontextmanager
async def running(work: Callable[[], Coroutine[Any, Any, None]]) -> AsyncIterator[None]:
    """Run it until the block ends, which it must do in time."""
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(work)
        with anyio.fail_after(DEADLINE):
            yield
        tasks.cancel_scope.cancel()
