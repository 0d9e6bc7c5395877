"""S29: two hundred at once create, use and revoke over real connections to a real relay."""

import asyncio
from functools import partial
from typing import Any

import anyio
import anyio.to_thread
import pytest
from pydantic import SecretStr

from tests.helpers.agent import Agent, call
from tests.helpers.tunnel import TUNNEL
from tests.integration.scene import SERVER, UNHURRIED, Scene, open_scene
from tunnel_relay.admin.call import call_control
from tunnel_relay.errors import Code, RelayError

pytestmark = [pytest.mark.system, pytest.mark.asyncio]

RACERS = 200
USERS = 50
LATE = 3
CUT = 0


class Racer:
    """Makes a session, uses it over and over, has it revoked, and goes on using it."""

    def __init__(self, scene: Scene, number: int) -> None:
        self.scene = scene
        self.number = number
        self.revoking = False
        self.revoked = False
        self.before: list[int] = []
        self.after: list[int] = []

    async def admin(self, command: str, **arguments: Any) -> Any:
        path = self.scene.lab.folder / "relay" / "state" / "control.sock"
        act = partial(call_control, path, command, arguments)
        return await anyio.to_thread.run_sync(act, limiter=LIMITER)

    async def created(self, **words: str) -> Any:
        """Make a session; where two hundred wait for a slow disk, some are told to ask again."""
        while True:
            try:
                return await self.admin("session_create", **words)
            except RelayError as error:
                if error.code is not Code.STORE_UNAVAILABLE or "takes too long" not in str(error):
                    raise

    async def run(self) -> None:
        server = f"{TUNNEL}/{SERVER}"
        user = f"user-{self.number % USERS}"
        made = await self.created(user=user, agent="racer", server=server)
        lab = self.scene.lab
        host = lab.origin.partition("://")[2]
        agent = Agent(lab.port, f"/t/{server}/mcp", SecretStr(made["token"]), host)
        used = asyncio.Event()
        async with anyio.create_task_group() as tasks:
            for _ in range(2):
                tasks.start_soon(self.use, agent, used)
            await used.wait()
            self.revoking = True
            await self.admin("session_revoke", session=made["session"]["id"])
            self.revoked = True

    async def use(self, agent: Agent, used: asyncio.Event) -> None:
        while len(self.after) < LATE:
            late = self.revoked  # when it was sent, not when it was answered
            case = f"late-{self.number}" if late else f"race-{self.number}"
            try:
                status = (await agent.ask(call("echo", case=case))).status
            except ConnectionError as error:
                # Only a revocation cuts, only what is half answered, and never a use sent after it.
                if late or not self.revoking or "after status 200" not in str(error):
                    raise
                status = CUT
            (self.after if late else self.before).append(status)
            used.set()


LIMITER = anyio.CapacityLimiter(RACERS)


async def test_s29_no_use_succeeds_after_its_revocation_was_acknowledged() -> None:
    async with open_scene(UNHURRIED) as scene:
        racers = [Racer(scene, number) for number in range(RACERS)]
        for number in range(USERS):
            await racers[0].admin("user_add", user=f"user-{number}")
        with anyio.fail_after(120):
            async with anyio.create_task_group() as tasks:
                for racer in racers:
                    tasks.start_soon(racer.run)
        assert {status for racer in racers for status in racer.after} == {401}
        assert all(racer.before[0] == 200 for racer in racers)
        seen = [each.case for each in scene.upstream.seen]
        assert not [case for case in seen if str(case).startswith("late-")]
        assert {f"race-{number}" for number in range(RACERS)} <= set(seen)
