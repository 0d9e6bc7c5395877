"""R16: the clock of the relay's machine jumps by hours; nothing that lives is hurt or revived."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tests.helpers.agent import Agent, call
from tests.helpers.tunnel import Lab, end
from tests.integration.scene import Scene, eventually, open_scene
from tests.integration.test_sessions import refused, running, state

pytestmark = [pytest.mark.slow, pytest.mark.system]

LIBRARIES = (
    Path("/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1"),
    Path("/usr/lib/aarch64-linux-gnu/faketime/libfaketimeMT.so.1"),
)
LEASE = {"limits.lease": "4s", "limits.ping_interval": "1s", "limits.ping_deadline": "1s"}


class Clock:
    """The time that the programs of a lab see, as an offset to the real one."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.jump("+0")

    def jump(self, offset: str) -> None:
        """Set the clock, as `+2h` or `-2h`; programs that run see it with their next look."""
        fresh = self._path.with_suffix(".new")
        fresh.write_text(offset + "\n")
        fresh.replace(self._path)

    def prepare(self, lab: Lab) -> None:
        """Let the programs of a lab look at this clock; timers stay with the monotonic one."""
        library = next((path for path in LIBRARIES if path.exists()), None)
        if library is None:
            pytest.skip("NOT TESTED: jumps of the clock need libfaketime (Debian: faketime)")
        lab.environment |= {
            "LD_PRELOAD": str(library),
            "FAKETIME_TIMESTAMP_FILE": str(self._path),
            "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        }


@asynccontextmanager
async def a_scene(folder: Path) -> AsyncIterator[tuple[Scene, Clock]]:
    clock = Clock(folder / "clock")
    async with open_scene(LEASE, links=1, prepare=clock.prepare) as scene:
        yield scene, clock


async def epoch(scene: Scene) -> int:
    """Return which link is up: its number grows with every one."""
    (link,) = (await scene.lab.relay_json("status"))["links"]
    found: int = link["epoch"]
    return found


async def unmoved(scene: Scene, link: int) -> None:
    """See that no timer took a jump for time that went by."""
    status = await scene.lab.relay_json("status")
    assert status["store"]["lapsed"] is False
    assert await epoch(scene) == link


async def test_r16_the_clock_jumps_while_calls_run(tmp_path: Path) -> None:
    async with a_scene(tmp_path) as (scene, clock):
        long = await scene.grant(ttl="7d", idle="7d")
        short = await scene.grant(ttl="1h")
        link = await epoch(scene)
        async with long.agent.open(call("driven", id=1, case="jumped")) as reply:
            seen = await running(scene, reply, "jumped")
            clock.jump("-2h")
            await scene.serves(short.agent)
            await scene.serves(long.agent)
            await unmoved(scene, link)
            clock.jump("+2h")
            await eventually(lambda: refused(short.agent))
            await scene.serves(long.agent)
            assert await state(scene, short) == "expired"
            clock.jump("-2h")
            assert await refused(short.agent), "a clock that is set back revives nothing"
            assert await state(scene, short) == "expired"
            await scene.serves(long.agent)
            await unmoved(scene, link)
            assert not seen.closed.is_set()
            await seen.event({"jsonrpc": "2.0", "id": 1, "result": {"alive": True}})
            await seen.end()
            await reply.end()
            assert reply.events[-1]["result"] == {"alive": True}


async def test_r16_a_relay_that_starts_with_its_clock_set_back_revives_nothing(
    tmp_path: Path,
) -> None:
    async with a_scene(tmp_path) as (scene, clock):
        long = await scene.grant(ttl="7d", idle="7d")
        short = await scene.grant(ttl="1h")
        clock.jump("+2h")
        await eventually(lambda: refused(short.agent))
        await scene.serves(long.agent)
        await end(scene.lab.relay)
        clock.jump("-2h")
        await scene.lab.start_relay()
        assert await refused(short.agent)
        assert await state(scene, short) == "expired"
        await scene.linked()
        await eventually(lambda: served(long.agent))
        await scene.serves(long.agent)


async def served(agent: Agent) -> bool:
    reply = await agent.ask(call("echo", case="back"))
    return bool(reply.status == 200)
