"""Opens and closes a play on a stage: its folder, its variables, signals, and how it ended."""

import asyncio
import os
import signal
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

from tests.helpers.stage import Stage, StageError

Play = Callable[[Stage], Awaitable[None]]


def environment(folder: Path) -> dict[str, str]:
    """Return the variables of the demo: ours only, so that a person's own settings stay out."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("TUNNEL_RELAY_", "TUNNEL_CLIENT_"))
    }
    programs = str(Path(sys.executable).parent)
    return kept | {
        "PATH": f"{programs}{os.pathsep}{os.environ.get('PATH', os.defpath)}",
        "TUNNEL_RELAY_CONFIG": str(folder / "relay.toml"),
        "TUNNEL_CLIENT_CONFIG": str(folder / "client.toml"),
        # The demo never leaves this machine, so a proxy set for the internet is none of its.
        "NO_PROXY": "localhost,127.0.0.1",
    }


def silence() -> None:
    """Let nobody hear the rest: who read our output has left, as `make demo | head` does."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)


async def perform(play: Play, name: str) -> int:
    """Play in a folder of its own and clean up; returns the exit code."""
    began = time.perf_counter()
    failed = False
    with tempfile.TemporaryDirectory(prefix=f"mcp-tunnel-{name}-") as place:
        folder = Path(place)
        stage = Stage(folder, environment(folder))
        try:
            await play(stage)
        except asyncio.CancelledError:
            stage.say()
        except BrokenPipeError:
            failed = True
            silence()
        except Exception as error:  # noqa: BLE001 - whatever it is, the person is told and we clean up
            failed = True
            stage.say(f"\nFAILED: {told(error)}\n{stage.logs()}")
        stage.step("The end")
        try:
            await stage.stop()
        except StageError as error:
            failed = True
            stage.say(f"FAILED: {error}")
    took = time.perf_counter() - began
    print(f"The {name} FAILED." if failed else f"Everything worked, in {took:.1f} s.")  # noqa: T201
    return 1 if failed else 0


def told(error: BaseException) -> str:
    """Say what went wrong, and in groups what each of it is."""
    if isinstance(error, BaseExceptionGroup):
        return "; ".join(told(each) for each in error.exceptions)
    return f"{type(error).__name__}: {error}"


async def with_signals(play: Play, name: str) -> int:
    """Perform; SIGINT and SIGTERM end it in order. Returns the exit code."""
    task = asyncio.create_task(perform(play, name))
    asked = asyncio.Event()

    def stop() -> None:
        # Once: a second Ctrl-C must not cut the clean-up short, which is bounded anyway.
        if not asked.is_set():
            asked.set()
            task.cancel()

    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop)
    return await task
