"""Runs command lines in front of a person: shows each, runs it, times it, shows what it said."""

import asyncio
import os
import re
import shlex
import sys
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import anyio

from tests.helpers.tunnel import end

COMMAND_SECONDS = 60.0
START_SECONDS = 30.0
MAX_LINES = 14
OURS = ("relay", "client")
_TOKEN = re.compile(r"(mt[saj]_[A-Za-z0-9_-]{4})[A-Za-z0-9_-]{39}")


class StageError(RuntimeError):
    """A step did not do what it should; the message says which and why."""


class Stage:
    """A folder, an environment, the programs that run in it, and a person who watches."""

    def __init__(self, folder: Path, environment: dict[str, str]) -> None:
        self.folder = folder
        self.environment = environment
        self._steps = 0
        self._running: list[tuple[str, asyncio.subprocess.Process]] = []

    # Telling ------------------------------------------------------------------------------------

    def step(self, title: str) -> None:
        """Begin the next numbered step."""
        self._steps += 1
        text = f"{self._steps}. {title}"
        self.say()
        self.say(f"\033[1m{text}\033[0m" if sys.stdout.isatty() else text)

    def say(self, text: str = "") -> None:
        """Print lines; tokens are cut short, because a terminal's history is no place for them."""
        print(self._shown(text), flush=True)  # noqa: T201

    def note(self, text: str) -> None:
        """Print what a step found out."""
        self.say("\n".join(f"     {line}" for line in text.splitlines()))

    @contextmanager
    def timed(self, what: str) -> Iterator[None]:
        """Say what is done and how long it took."""
        began = time.perf_counter()
        yield
        self.say(f"   - {what}  [{milliseconds(began)}]")

    def _shown(self, text: str) -> str:
        place = str(self.folder)
        if shlex.quote(place) == place:
            text = text.replace(place, "$DEMO")
        return _TOKEN.sub(r"\1...", text)

    # Running ------------------------------------------------------------------------------------

    async def run(
        self, *words: str, stdin: str = "", lines: int = MAX_LINES, all_of_it: bool = False
    ) -> str:
        """Run a command as a person would and show what it printed; raises StageError.

        `lines` is how many of them are shown; the whole text is returned. With `all_of_it` that
        is what a terminal shows, with what the command says to people on its error stream.
        """
        self.say(f"   $ {shlex.join(words)}")
        began = time.perf_counter()
        process = await asyncio.create_subprocess_exec(
            *self._argv(words),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT if all_of_it else asyncio.subprocess.PIPE,
            env=self.environment,
        )
        with anyio.fail_after(COMMAND_SECONDS):
            out, err = await process.communicate(stdin.encode())
        said = out.decode().rstrip()
        shown = aligned(said.splitlines())
        if len(shown) > lines:
            shown = [*shown[:lines], f"... and {len(shown) - lines} lines more"]
        self.note("\n".join(shown))
        self.say(f"     [{milliseconds(began)}]")
        if process.returncode:
            raise StageError(
                f"{shlex.join(words)} ended with {process.returncode}: {(err or out).decode()}"
            )
        return said

    async def quietly(self, *words: str) -> str:
        """Run a command without showing it; returns what it printed, raises StageError."""
        process = await asyncio.create_subprocess_exec(
            *self._argv(words),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env=self.environment,
        )
        with anyio.fail_after(COMMAND_SECONDS):
            out, err = await process.communicate()
        if process.returncode:
            raise StageError(f"{shlex.join(words)} ended with {process.returncode}: {err.decode()}")
        return out.decode()

    async def failing(self, *words: str) -> str:
        """Run a command that has to end with 1; returns what it printed, raises StageError."""
        process = await asyncio.create_subprocess_exec(
            *self._argv(words), stdout=asyncio.subprocess.PIPE, env=self.environment
        )
        with anyio.fail_after(COMMAND_SECONDS):
            out, _ = await process.communicate()
        if process.returncode != 1:
            raise StageError(f"{shlex.join(words)} ended with {process.returncode}, not with 1")
        return out.decode().rstrip()

    async def start(self, name: str, *words: str, show: bool = True) -> asyncio.subprocess.Process:
        """Start a program that stays; its output goes to `NAME.log`, but for a piped stdout."""
        log = self.folder / f"{name}.log"
        if show:
            self.say(f"   $ {shlex.join(words)} 2> {log} &")
        with log.open("ab") as sink:
            process = await asyncio.create_subprocess_exec(
                *self._argv(words),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=sink,
                env=self.environment,
                # A Ctrl-C is for us: we end the programs in order.
                start_new_session=True,
            )
        self._running.append((name, process))
        return process

    async def until(self, ready: Callable[[], Awaitable[bool]], what: str) -> None:
        """Ask again and again until it is so; raises StageError, also when a program ended."""
        try:
            with anyio.fail_after(START_SECONDS):
                while not await ready():
                    ended = [name for name, each in self._running if each.returncode is not None]
                    if ended:
                        raise StageError(f"{what}: {ended[0]} ended by itself")
                    await asyncio.sleep(0.05)
        except TimeoutError:
            raise StageError(f"not within {START_SECONDS:.0f} s: {what}") from None

    async def end(self, name: str) -> None:
        """End one program and forget it; raises StageError unless it ended with 0."""
        [process] = [each for called, each in self._running if called == name]
        await end(process)
        self._running.remove((name, process))
        if process.returncode:
            raise StageError(f"{name} ended with {process.returncode}")

    async def stop(self) -> None:
        """End every program, the last one first.

        Raises StageError for processes left behind, and for a program of ours that did not end
        with 0.
        """
        mine = descendants(os.getpid())
        codes: dict[str, int | None] = {}
        for name, process in reversed(self._running):
            await end(process)
            codes[name] = process.returncode
        self.say("   " + ", ".join(f"{name} ended with {code}" for name, code in codes.items()))
        bad = [name for name in OURS if codes.get(name, 0) != 0]
        if bad:
            raise StageError(f"did not end in order: {', '.join(bad)}")
        left = [pid for pid in mine if pid in processes()]
        if left:
            raise StageError(f"processes left behind: {left}")

    def logs(self) -> str:
        """Return the ends of all logs."""
        parts = []
        for path in sorted(self.folder.glob("*.log")):
            parts.append(f"--- {path.name}\n{path.read_text(errors='replace')[-2000:]}")
        return self._shown("\n".join(parts))

    def _argv(self, words: Sequence[str]) -> list[str]:
        program = Path(sys.executable).parent / words[0]
        return [str(program) if program.exists() else words[0], *words[1:]]


def aligned(lines: Sequence[str]) -> list[str]:
    """Set tab-separated lines, which commands print into a pipe, in columns as on a terminal."""
    cells = [line.split("\t") for line in lines]
    widths: list[int] = []
    for row in cells:
        if len(row) > 1:
            widths += [0] * (len(row) - len(widths))
            widths = [
                max(width, len(row[at]) if at < len(row) else 0) for at, width in enumerate(widths)
            ]
    return [
        "  ".join(f"{cell:<{widths[at]}}" for at, cell in enumerate(row)).rstrip()
        if len(row) > 1
        else row[0]
        for row in cells
    ]


def milliseconds(began: float) -> str:
    """Return how long it is since `began` (time.perf_counter), for people."""
    took = (time.perf_counter() - began) * 1000
    return f"{took:.1f} ms" if took < 100 else f"{took:.0f} ms"


def processes() -> dict[int, int]:
    """Return the parent of every living process, zombies left out; empty without /proc."""
    found = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue  # ended while we looked
        if fields[0] != "Z":
            found[int(stat.parent.name)] = int(fields[1])
    return found


def descendants(root: int) -> list[int]:
    """Return the processes that `root` started, and theirs."""
    parents = processes()
    found, looking = [], [root]
    while looking:
        parent = looking.pop()
        children = [pid for pid, its in parents.items() if its == parent]
        found += children
        looking += children
    return found
