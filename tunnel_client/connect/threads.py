"""Blocking work in threads that never hold up the end of the program."""

import asyncio
import threading
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


async def in_thread(work: Callable[[], T], name: str) -> T:
    """Run a blocking function and return what it does; whoever cancels leaves it behind.

    A daemon thread: a keyring that asks its user, or a browser in the foreground, may take forever.
    """
    loop = asyncio.get_running_loop()
    done: asyncio.Future[T] = loop.create_future()

    def settle(result: T | None, error: Exception | None) -> None:
        if done.done():
            return
        if error is not None:
            done.set_exception(error)
        else:
            done.set_result(result)  # type: ignore[arg-type]  # None only if T is

    def run() -> None:
        result, failed = None, None
        try:
            result = work()
        except Exception as error:  # noqa: BLE001 - handed to whoever waits
            failed = error
        tell(loop, settle, result, failed)

    threading.Thread(target=run, name=name, daemon=True).start()
    return await done


def tell(loop: asyncio.AbstractEventLoop, function: Callable[..., object], *words: object) -> bool:
    """Call a function in a loop of another thread; False when that loop has ended."""
    try:
        loop.call_soon_threadsafe(function, *words)
    except RuntimeError:
        return False
    return True
