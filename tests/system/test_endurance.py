"""Ten thousand calls and streams leave both programs as large as they were."""

import asyncio
import os
from collections.abc import Awaitable, Callable
from pathlib import Path

import anyio
import pytest

from tests.helpers.agent import Agent, call, initialize
from tests.helpers.recording_upstream import RecordingUpstream, Seen
from tests.integration.scene import Scene, eventually, open_scene

pytestmark = [pytest.mark.system, pytest.mark.slow]

CALLS = 10_000
WORKERS = 16
MIB = 1024 * 1024
GROWTH = 10 * MIB
"""What a warm process may still grow by as its heap settles; 1 KiB kept per call is as much."""
DESCRIPTORS = 8


class Size:
    """Memory and open files of a running process."""

    def __init__(self, pid: int) -> None:
        status = Path(f"/proc/{pid}/status").read_text()
        self.memory = int(status.split("VmRSS:")[1].split()[0]) * 1024
        self.descriptors = len(os.listdir(f"/proc/{pid}/fd"))  # noqa: PTH208 - names only

    def check(self, now: "Size", who: str) -> None:
        """See that the process is not much larger now."""
        assert now.memory - self.memory < GROWTH, f"{who}: {self.memory} -> {now.memory} bytes"
        assert now.descriptors - self.descriptors <= DESCRIPTORS, who


class Forgetful(RecordingUpstream):
    """Answers driven calls by itself with a short event stream, and remembers nothing."""

    async def serve(self, seen: Seen) -> None:
        """Answer one request."""
        self.seen.clear()
        params = seen.document.get("params", {})
        if params.get("name") != "driven":
            await super().serve(seen)
            return
        await seen.event_stream()
        for number in range(3):
            await seen.event({"n": number})
        if params["arguments"].get("whole", True):
            await seen.end()


async def repeat(count: int, act: Callable[[int], Awaitable[None]]) -> None:
    """Do something `count` times, a few at a time."""
    numbers = iter(range(count))

    async def work() -> None:
        for number in numbers:
            await act(number)

    await asyncio.gather(*(work() for _ in range(WORKERS)))


def mixed(agent: Agent) -> Callable[[int], Awaitable[None]]:
    """Return one of the ways an agent uses the relay, chosen by a number."""

    async def act(number: int) -> None:
        match number % 5:
            case 0:
                assert (await agent.ask(call("driven"))).events[-1] == {"n": 2}
            case 1:
                async with agent.open(call("driven", whole=False)) as reply:
                    await reply.text(b'"n": 2')
            case 2:
                assert (await agent.ask(b"{broken")).status == 400
            case 3:
                reply = await agent.ask(initialize())
                name = reply.values("mcp-session-id")[0]
                headers = [("Mcp-Session-Id", name)]
                assert (await agent.ask(method="DELETE", headers=headers)).status == 204
            case _:
                assert (await agent.ask(call("echo", id=number))).document["id"] == number

    return act


@pytest.mark.slow
async def test_ten_thousand_calls_and_streams_leave_nothing_behind() -> None:
    with anyio.fail_after(120):
        async with open_scene(upstream=Forgetful()) as scene:
            act = mixed(scene.agent)
            await repeat(CALLS // 2, act)
            await quiet(scene)
            before = sizes(scene)
            await repeat(CALLS, act)
            await quiet(scene)
            after = sizes(scene)
            for who, size in before.items():
                size.check(after[who], who)


async def quiet(scene: Scene) -> None:
    """Wait until both programs have let go of every call and connection."""

    async def settled() -> bool:
        shown = await scene.lab.relay_json("status")
        running = sum(link["streams"] for link in shown["links"])
        running += (await scene.ready())["streams"]
        return bool(running == 0 and not scene.upstream.tasks)

    await eventually(settled, every=0.2)


def sizes(scene: Scene) -> dict[str, Size]:
    assert scene.lab.relay is not None
    assert scene.lab.client is not None
    return {"relay": Size(scene.lab.relay.pid), "client": Size(scene.lab.client.pid)}
