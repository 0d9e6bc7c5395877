"""Start the conformance fixture server as a process of its own."""

import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
from anyio.abc import Process
from anyio.streams.text import TextReceiveStream

ROOT = Path(__file__).resolve().parents[2]
MODULE = "tests.helpers.fixture_server"
START_SECONDS = 30.0
STOP_SECONDS = 5.0


def stdio_command() -> tuple[str, ...]:
    """Return the argument list that starts the fixture on standard input and output.

    The working directory must be the root of the repository, `ROOT`.
    """
    return (sys.executable, "-m", MODULE, "--stdio")


@asynccontextmanager
async def http_fixture(port: int = 0) -> AsyncIterator[str]:
    """Run the fixture over Streamable HTTP and yield its URL; it is gone afterwards.

    Raises `TimeoutError` when it is not up in time and `RuntimeError` when it ends at once.
    """
    async with _served(MODULE, "--port", str(port)) as url:
        yield url


@asynccontextmanager
async def ticket_desk() -> AsyncIterator[str]:
    """Run the ticket desk over Streamable HTTP and yield its URL; raises as `http_fixture`."""
    async with _served("tests.helpers.ticket_desk") as url:
        yield url


@asynccontextmanager
async def _served(*module: str) -> AsyncIterator[str]:
    command = [sys.executable, "-m", *module]
    process = await anyio.open_process(command, cwd=ROOT, stderr=None)
    try:
        with anyio.fail_after(START_SECONDS):
            url = await _first_line(process)
        yield url
    finally:
        with anyio.CancelScope(shield=True):
            await _stop(process)


async def _first_line(process: Process) -> str:
    assert process.stdout is not None
    line = ""
    async for piece in TextReceiveStream(process.stdout):
        line += piece
        if "\n" in line:
            return line.splitlines()[0]
    raise RuntimeError(f"the fixture ended before it served: exit status {await process.wait()}")


async def _stop(process: Process) -> None:
    if process.returncode is None:
        process.terminate()
    with anyio.move_on_after(STOP_SECONDS) as late:
        await process.wait()
    if late.cancelled_caught:
        process.kill()
        await process.wait()
    await process.aclose()
