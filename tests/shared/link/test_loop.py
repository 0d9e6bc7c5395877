"""The loop the programs run on."""

import asyncio
import subprocess
import sys

import anyio

from shared.link.loop import run


def test_a_main_coroutine_runs_and_gives_its_result() -> None:
    async def main() -> int:
        return 7

    assert run(main()) == 7


def test_what_waits_can_be_made_in_a_callback_though_sniffio_is_there() -> None:
    """sniffio, which other packages bring along, sees asyncio inside a task only."""
    program = """
import sys, types
module = types.ModuleType("sniffio")
import threading
class Local(threading.local):
    name = None
module.thread_local = Local()
class AsyncLibraryNotFoundError(Exception): pass
module.AsyncLibraryNotFoundError = AsyncLibraryNotFoundError
def current_async_library():
    if module.thread_local.name is None:
        raise AsyncLibraryNotFoundError
    return module.thread_local.name
module.current_async_library = current_async_library
class Cvar:
    def set(self, value): return None
    def reset(self, token): pass
module.current_async_library_cvar = Cvar()
sys.modules["sniffio"] = module
import asyncio, anyio
from shared.link.loop import run
async def main():
    done = asyncio.get_running_loop().create_future()
    asyncio.get_running_loop().call_soon(lambda: done.set_result(anyio.Event()))
    await done
run(main())
print("good")
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.stdout == "good\n", done.stderr


async def test_an_event_can_be_made_in_a_callback_here() -> None:
    loop = asyncio.get_running_loop()
    made: asyncio.Future[anyio.Event] = loop.create_future()
    loop.call_soon(lambda: made.set_result(anyio.Event()))
    assert not (await made).is_set()
