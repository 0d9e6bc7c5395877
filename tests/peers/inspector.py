"""The command line of the MCP inspector as a peer.

python -m tests.peers.inspector TARGET.json

Every step is a program of its own that connects, does one thing and leaves. It reads where to
connect, and the token, from a file that only we may read.
"""

import json
import os
import sys
import tempfile
from pathlib import Path
from subprocess import PIPE
from typing import Any

import anyio
from anyio.abc import Process

from tests.helpers import node_packages
from tests.peers import pipes, steps
from tests.peers.scenario import (
    STEP_SECONDS,
    STEPS,
    Outcome,
    Target,
    ToolCall,
    complaint,
    names_and_digest,
    read_target,
    read_token,
    size_and_digest,
)

# Linux refuses one argument above 128 KiB, and arguments of a tool are one.
MAX_ARGUMENT_BYTES = 120 * 1024


class Inspector:
    """Runs the inspector against one target."""

    def __init__(self, target: Target, folder: Path) -> None:
        self._target = target
        self._config = folder / "servers.json"
        # It keeps state in the home folder; this one is gone afterwards.
        self._environment = {**os.environ, "HOME": str(folder)}
        self.era: str | None = None
        server: dict[str, object]
        if "url" in target:
            token = read_token(target)
            headers = {} if token is None else {"Authorization": f"Bearer {token}"}
            server = {"type": "streamable-http", "url": target["url"], "headers": headers}
        else:
            command, *arguments = target["argv"]
            server = {"type": "stdio", "command": command, "args": arguments}
        self._config.touch(mode=0o600)
        self._config.write_text(json.dumps({"mcpServers": {"peer": server}}), encoding="utf-8")

    async def start(self, method: str, *options: str) -> Process:
        """Start the program for one method."""
        program = node_packages.node_modules() / ".bin" / "mcp-inspector"
        fixed = ["--format", "json", "--quiet", "--protocol-era", "auto", "--stored-auth-only"]
        where = ["--cli", "--config", str(self._config), "--server", "peer"]
        argv = [str(node_packages.node()), str(program), *where, *fixed, "--method", method]
        return await anyio.open_process(
            [*argv, *options], env=self._environment, stdin=None, stdout=PIPE, stderr=PIPE
        )

    async def ask(self, method: str, *options: str) -> dict[str, Any]:
        """Run the program for one method and return its result; `StepFailed` when it fails."""
        async with await self.start(method, *options) as process:
            assert process.stdout is not None
            assert process.stderr is not None
            chunks = {"out": bytearray(), "err": bytearray()}

            async def collect(stream: anyio.abc.ByteReceiveStream, into: bytearray) -> None:
                async for chunk in stream:
                    into.extend(chunk)

            async with anyio.create_task_group() as tasks:
                tasks.start_soon(collect, process.stdout, chunks["out"])
                tasks.start_soon(collect, process.stderr, chunks["err"])
            code = await process.wait()
        if code != 0:
            raise steps.StepFailed(f"exit {code}: {chunks['err'].decode()[-300:].strip()}")
        result: dict[str, Any] = json.loads(chunks["out"])["result"]
        return result

    async def connect(self) -> str:
        """Connect and note the protocol version agreed on."""
        self.era = str((await self.ask("initialize"))["protocolVersion"])
        return ""

    async def list(self) -> str:
        """List the tools."""
        names = [str(tool["name"]) for tool in (await self.ask("tools/list"))["tools"]]
        wanted = self._target["steps"]["call"]["tool"]
        if wanted not in names:
            raise steps.StepFailed(f"no tool {wanted} among {names}")
        return names_and_digest(names)

    async def call(self, call: ToolCall) -> str:
        """Call a tool."""
        result = await self.ask("tools/call", *call_options(call))
        text = "".join(b["text"] for b in result["content"] if b["type"] == "text")
        wrong = complaint(call, text, is_error=bool(result.get("isError")))
        if wrong is not None:
            raise steps.StepFailed(wrong)
        return size_and_digest(text) if "min_characters" in call else ""

    async def abandon(self, call: ToolCall) -> str:
        """End the program while its call runs; the next program's call must be answered."""
        async with await self.start("tools/call", *call_options(call)) as process:
            try:
                async with pipes.held_open(Path(call["pipe"])):
                    process.terminate()
                    await process.wait()
            finally:
                if process.returncode is None:
                    process.kill()
        await self.call(self._target["steps"]["call"])
        return "the program ended in mid-call, the next program's call answered"


def call_options(call: ToolCall) -> tuple[str, ...]:
    """Return the options that name a tool and its arguments."""
    arguments = json.dumps(call["arguments"])
    return "--tool-name", call["tool"], "--tool-args-json", arguments


def why_not(step: str, call: ToolCall) -> str | None:
    """Say why this program cannot do a step, `None` when it can."""
    if step == "cancel" and "pipe" not in call:
        return "it shows no progress, so nothing says when the call has begun"
    if len(json.dumps(call["arguments"])) > MAX_ARGUMENT_BYTES:
        return "the tool's arguments do not fit into one command line argument"
    return None


async def do(step: str, inspector: Inspector, target: Target) -> tuple[Outcome, str]:
    """Do one step and say how it ended."""
    if step == "connect":
        return "ok", await inspector.connect()
    if step == "list":
        return "ok", await inspector.list()
    call = target["steps"][step]
    reason = why_not(step, call)
    if reason is not None:
        return "skip", reason
    if step == "cancel":
        return "ok", await inspector.abandon(call)
    detail = await inspector.call(call)
    return "ok", "answered; it shows no progress" if step == "progress" else detail


async def run(target: Target) -> None:
    """Do every step the target asks for, whatever became of the ones before."""
    with tempfile.TemporaryDirectory() as folder:
        inspector = Inspector(target, Path(folder))
        for step in STEPS:
            if step not in ("connect", "list") and step not in target["steps"]:
                continue
            try:
                with anyio.fail_after(STEP_SECONDS):
                    outcome, detail = await do(step, inspector, target)
            except Exception as error:  # noqa: BLE001 - whatever a peer does is a row of the table
                outcome, detail = "fail", steps.reason(error)
            steps.report(step, outcome, detail, inspector.era)


if __name__ == "__main__":
    anyio.run(run, read_target(Path(sys.argv[1])))
