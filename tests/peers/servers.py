"""The four real MCP servers of the matrix: how each is started, and what it is asked to do."""

import os
import socket
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import anyio

from tests.helpers import node_packages
from tests.peers.scenario import ToolCall

NAMES = ("everything", "time", "filesystem", "git")
START_SECONDS = 20.0
STOP_SECONDS = 5.0
LINE = "All work and no play makes a dull file, and this one has many such lines.\n"
LAST_LINE = "the last line of the big file\n"
BIG_FILE_CHARACTERS = 2 * 1024 * 1024
# The Python SDK refuses one SSE event above 1 MiB, and this server answers by SSE.
BIG_ECHO_CHARACTERS = 512 * 1024
RECORDER = Path(__file__).with_name("stdio_recorder.py")


@dataclass(frozen=True)
class HttpUpstream:
    """An upstream that is reached at a URL."""

    url: str


@dataclass(frozen=True)
class StdioUpstream:
    """An upstream that is started as a child process."""

    argv: tuple[str, ...]


Upstream = HttpUpstream | StdioUpstream


@dataclass(frozen=True)
class Server:
    """A server of the matrix.

    `skipped` says for every step left out of `steps` why the server has nothing for it.
    `messages` is where the recorder before a stdio server notes what reached it.
    """

    name: str
    upstream: Upstream
    steps: dict[str, ToolCall]
    skipped: dict[str, str]
    messages: Path | None = None

    @property
    def pipes(self) -> list[Path]:
        """The named pipes that tools of this server read."""
        return [Path(call["pipe"]) for call in self.steps.values() if "pipe" in call]


@asynccontextmanager
async def started_servers(workspace: Path, names: list[str]) -> AsyncIterator[list[Server]]:
    """Make files and a repository in the workspace and start what runs over HTTP.

    Raises `TimeoutError` when the HTTP server does not listen within `START_SECONDS`.
    """
    makers = {"time": _time, "filesystem": _filesystem, "git": _git}
    servers = [makers[name](workspace) for name in names if name in makers]
    if "everything" not in names:
        yield servers
        return
    async with _everything(workspace) as everything:
        yield [everything, *servers]


@asynccontextmanager
async def _everything(workspace: Path) -> AsyncIterator[Server]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
    program = node_packages.node_modules() / ".bin" / "mcp-server-everything"
    with (workspace / "everything.log").open("wb") as log:
        process = subprocess.Popen(  # noqa: ASYNC220 - returns at once; the wait below is async
            [str(node_packages.node()), str(program), "streamableHttp"],
            env={**os.environ, "PORT": str(port)},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    try:
        with anyio.fail_after(START_SECONDS):
            await _listening(port)
        steps, skipped = _everything_steps()
        upstream = HttpUpstream(f"http://127.0.0.1:{port}/mcp")
        yield Server("everything", upstream, steps, skipped)
    finally:
        process.terminate()
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


async def _listening(port: int) -> None:
    while True:
        try:
            stream = await anyio.connect_tcp("127.0.0.1", port)
        except OSError:
            await anyio.sleep(0.05)
        else:
            await stream.aclose()
            return


def _everything_steps() -> tuple[dict[str, ToolCall], dict[str, str]]:
    long = "trigger-long-running-operation"
    message = "x" * BIG_ECHO_CHARACTERS + LAST_LINE
    steps: dict[str, ToolCall] = {
        "call": {"tool": "get-sum", "arguments": {"a": 19, "b": 23}, "expect": "42"},
        "progress": {
            "tool": long,
            "arguments": {"duration": 0.3, "steps": 3},
            "expect": "completed",
        },
        "cancel": {"tool": long, "arguments": {"duration": 15, "steps": 150}, "expect": ""},
        "large": {
            "tool": "echo",
            "arguments": {"message": message},
            "expect": LAST_LINE,
            "min_characters": BIG_ECHO_CHARACTERS,
        },
    }
    return steps, {}


def _time(workspace: Path) -> Server:
    steps: dict[str, ToolCall] = {
        "call": {
            "tool": "convert_time",
            "arguments": {
                "source_timezone": "UTC",
                "time": "12:00",
                "target_timezone": "Asia/Tokyo",
            },
            "expect": "21:00",
        }
    }
    skipped = {
        "progress": "no tool reports progress",
        "cancel": "no call lasts long enough to be cancelled",
        "large": "no answer is larger than 1 KiB",
    }
    return _stdio(workspace, "time", [_script("mcp-server-time")], steps, skipped)


def _filesystem(workspace: Path) -> Server:
    folder = workspace / "files"
    folder.mkdir()
    (folder / "hello.txt").write_text("hello from behind the firewall\n", encoding="ascii")
    (folder / "big.txt").write_text(_big_text(), encoding="ascii")
    pipe = _pipe(folder / "slow.txt")
    steps: dict[str, ToolCall] = {
        "call": {
            "tool": "read_text_file",
            "arguments": {"path": str(folder / "hello.txt")},
            "expect": "behind the firewall",
        },
        "cancel": {
            "tool": "read_text_file",
            "arguments": {"path": str(pipe)},
            "expect": "",
            "pipe": str(pipe),
        },
        "large": {
            "tool": "read_text_file",
            "arguments": {"path": str(folder / "big.txt")},
            "expect": LAST_LINE,
            "min_characters": BIG_FILE_CHARACTERS,
        },
    }
    program = node_packages.node_modules() / ".bin" / "mcp-server-filesystem"
    argv = [str(node_packages.node()), str(program), str(folder)]
    skipped = {"progress": "no tool reports progress"}
    return _stdio(workspace, "filesystem", argv, steps, skipped)


def _git(workspace: Path) -> Server:
    folder = workspace / "repository"
    folder.mkdir()
    pipe = _pipe(workspace / "slow-diff")
    _make_repository(folder, pipe)
    steps: dict[str, ToolCall] = {
        "call": {
            "tool": "git_log",
            "arguments": {"repo_path": str(folder), "max_count": 1},
            "expect": "Add a big file",
        },
        "cancel": {
            "tool": "git_diff_unstaged",
            "arguments": {"repo_path": str(folder)},
            "expect": "",
            "pipe": str(pipe),
        },
        "large": {
            "tool": "git_show",
            "arguments": {"repo_path": str(folder), "revision": "HEAD"},
            "expect": LAST_LINE,
            "min_characters": BIG_FILE_CHARACTERS,
        },
    }
    argv = [_script("mcp-server-git"), "--repository", str(folder)]
    return _stdio(workspace, "git", argv, steps, {"progress": "no tool reports progress"})


def _make_repository(folder: Path, pipe: Path) -> None:
    def git(*arguments: str) -> None:
        # Fixed author and dates: the same commit ids, so that the same answer has the same digest.
        who = {
            f"GIT_{role}_{what}": value
            for role in ("AUTHOR", "COMMITTER")
            for what, value in (
                ("NAME", "Peer"),
                ("EMAIL", "peer@example.org"),
                ("DATE", "2026-01-01T00:00:00Z"),
            )
        }
        command = ["git", "-c", "commit.gpgsign=false", *arguments]
        subprocess.run(
            command, cwd=folder, env={**os.environ, **who}, check=True, capture_output=True
        )

    git("init", "--quiet", "--initial-branch=main")
    (folder / ".gitattributes").write_text("slow.txt diff=slow\n", encoding="ascii")
    git("add", ".")
    git("commit", "--quiet", "--message", "Begin")
    (folder / "big.txt").write_text(_big_text(), encoding="ascii")
    git("add", ".")
    git("commit", "--quiet", "--message", "Add a big file")
    # A diff of slow.txt runs this command, which reads the pipe: a git call as long as we like.
    git("config", "diff.slow.textconv", f"cat '{pipe}'; :")
    # A new file, because of a changed one git would convert both sides and read the pipe twice.
    (folder / "slow.txt").write_text("new\n", encoding="ascii")
    git("add", "--intent-to-add", "slow.txt")


def _stdio(
    workspace: Path,
    name: str,
    argv: list[str],
    steps: dict[str, ToolCall],
    skipped: dict[str, str],
) -> Server:
    messages = workspace / f"{name}.messages"
    if "cancel" in steps:
        steps["cancel"]["messages"] = str(messages)
    recorded = (sys.executable, str(RECORDER), str(messages), *argv)
    return Server(name, StdioUpstream(recorded), steps, skipped, messages)


def _script(name: str) -> str:
    return str(Path(sys.executable).with_name(name))


def _pipe(path: Path) -> Path:
    os.mkfifo(path)
    return path


def _big_text() -> str:
    return LINE * (BIG_FILE_CHARACTERS // len(LINE) + 1) + LAST_LINE
