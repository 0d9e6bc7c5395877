"""R14, R15, S11: the store fails under a running relay, for real.

Open sessions are served from memory until the lease lapses, then refused; revocation works all
the time; and when the store is back the relay is too, without a restart.
"""

import contextlib
import re
import sqlite3
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import pytest

from tests.helpers.agent import call, initialize
from tests.helpers.disks import ext4_disk, fill, small_disk, turn_read_only
from tests.helpers.tunnel import CommandError, Lab
from tests.integration.scene import Grant, Scene, eventually, open_scene
from tests.integration.test_sessions import refused, running

pytestmark = pytest.mark.system

SETTINGS = {"limits.lease": "3s", "limits.ping_interval": "1s", "limits.ping_deadline": "1s"}
NEVER_SENT = {"origin": "relay", "delivery": "never_sent"}


@asynccontextmanager
async def a_scene(
    database: Path | None = None, folder: Path | None = None
) -> AsyncIterator[tuple[Scene, Grant]]:
    """Start everything, with a session to revoke; `folder` holds all files of both programs."""

    def move(lab: Lab) -> None:
        lab.folder = folder or lab.folder

    where = {} if database is None else {"database_file": str(database)}
    async with open_scene({**SETTINGS, **where}, prepare=move) as scene:
        yield scene, await scene.grant()


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the database as another process would that writes and never ends."""
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as holder:
        holder.execute("BEGIN EXCLUSIVE")
        yield


def database(scene: Scene) -> Path:
    return scene.lab.folder / "relay" / "state" / "relay.db"


async def serves(scene: Scene) -> bool:
    return (await scene.agent.ask(call("echo", case="served"))).status == 200


async def unavailable(scene: Scene) -> bool:
    """Make a call; tell whether the relay refuses it as it must without its store."""
    reply = await scene.agent.ask(call("echo", case="unavailable"))
    if reply.status != 503:
        return False
    if dict(reply.headers)["retry-after"] == "1":
        return False  # so far only the client, whose log is on that disk as well
    assert dict(reply.headers)["retry-after"] == "5"
    assert reply.error["data"] == NEVER_SENT
    assert not -32768 <= reply.error["code"] <= -32000
    return True


async def lapsed(scene: Scene) -> bool:
    status = await scene.lab.relay_json("status")
    return status["store"]["lapsed"] is True


async def lapses(scene: Scene) -> None:
    """See the lease lapse: the relay leaves its balancer, refuses agents, tells its admins."""
    await eventually(lambda: lapsed(scene))  # its log, on the same disk, may refuse calls before
    await eventually(lambda: unavailable(scene))
    before = len(scene.upstream.calls("unavailable"))
    assert await unavailable(scene)
    assert (await scene.agent.ask(initialize())).status == 503
    assert len(scene.upstream.calls("unavailable")) == before, "it was dispatched"
    assert (await scene.ready())["reason"] == "store"
    assert (await scene.lab.relay_json("status"))["store"]["problem"]
    assert "MT1070" in await scene.lab.relay_command("status")


async def comes_back(scene: Scene) -> None:
    """See calls answered soon (R14: 5 s; twice that for a busy machine), by the same process."""
    with anyio.fail_after(10):
        await eventually(lambda: serves(scene))
        await eventually(lambda: is_whole(scene))


async def is_whole(scene: Scene) -> bool:
    """Tell whether nothing waits to be stored, and balancers are told to come."""
    ready, status = await scene.ready(), await scene.order("status")
    return ready["reason"] is None and status["unstored"] == 0


async def revokes_unstored(
    scene: Scene, grant: Grant, fails: Callable[[], object] = lambda: None
) -> None:
    """Revoke while the store fails: what runs is cut, and the report says what is not stored.

    `fails` makes it fail once a call runs, where no call could begin after.
    """
    async with grant.agent.open(call("driven", id=5, case="cut")) as reply:
        seen = await running(scene, reply, "cut")
        fails()
        # At once: when the lease has lapsed too, the call ends for that.
        report = await scene.order("session_revoke", session=grant.id)
        assert (report["stored"], report["journalled"]) == (False, True)
        await reply.end()
        assert "the session has ended" in reply.events[-1]["error"]["message"]
        await scene.upstream.until(seen.closed.is_set)
    assert (await scene.lab.relay_json("status"))["unstored"] == 1


async def says_that_it_is_unstored(scene: Scene, grant: Grant) -> None:
    """See the command that revokes end with a code of its own."""
    with pytest.raises(CommandError, match="enforced, not yet stored") as caught:
        await scene.lab.relay_command("session", "revoke", grant.id)
    assert "MT1013" in caught.value.stderr


async def creates_nothing(scene: Scene, why: str, code: str = "MT1010") -> None:
    """See a new session refused with a clear code."""
    with pytest.raises(CommandError, match=why) as caught:
        await scene.grant()
    assert re.search(code, caught.value.stderr)


async def test_r14_a_database_that_another_process_holds() -> None:
    async with a_scene() as (scene, grant):
        async with scene.agent.open(call("driven", id=7, case="lapsing")) as reply:
            seen = await running(scene, reply, "lapsing")
            with locked(database(scene)):
                assert await serves(scene), "open sessions live on for the lease"
                await revokes_unstored(scene, grant)
                await says_that_it_is_unstored(scene, grant)
                await lapses(scene)
                await creates_nothing(scene, "locked")
                # The call that ran when the lease lapsed is over, at both ends.
                await reply.end()
                last = reply.events[-1]
                assert (last["id"], last["error"]["data"]["delivery"]) == (7, "unknown")
                assert "cannot check sessions" in last["error"]["message"]
                await scene.upstream.until(seen.closed.is_set)
            await comes_back(scene)
        assert await refused(grant.agent)
        for event in ("store_failed", "lease_lapsed", "store_mended", "stored_at_last"):
            assert event in scene.log("relay.log")


async def test_s24_killed_with_a_revocation_that_was_never_stored() -> None:
    async with a_scene() as (scene, grant):
        with locked(database(scene)):
            await revokes_unstored(scene, grant)
            assert scene.lab.relay is not None
            scene.lab.relay.kill()
            await scene.lab.relay.wait()
        await scene.lab.start_relay()
        assert await refused(grant.agent)
        assert "journal_replayed" in scene.log("relay.log")


async def test_r15_a_disk_that_is_full(tmp_path: Path) -> None:
    """Everything of the relay is on it: database, journal and log."""
    with small_disk(tmp_path / "disk") as disk:
        async with a_scene(folder=disk) as (scene, grant):
            fillers: list[Path] = []
            await revokes_unstored(scene, grant, fails=lambda: fillers.append(fill(disk)))
            await creates_nothing(scene, "full|No space left", "MT1010|MT1321")  # store or log
            await lapses(scene)
            fillers[0].unlink()
            await comes_back(scene)
            assert await refused(grant.agent)
            await scene.serves((await scene.grant()).agent)
            shown = await scene.lab.relay_json("session", "show", grant.id)
            assert shown["session"]["state"] == "revoked"


async def test_r14_a_disk_that_turned_read_only(tmp_path: Path) -> None:
    with ext4_disk(tmp_path / "image", tmp_path / "disk") as disk:
        async with a_scene(disk / "relay.db") as (scene, grant):
            await revokes_unstored(scene, grant, fails=lambda: turn_read_only(disk))
            await creates_nothing(scene, "disk I/O error|readonly")
            await lapses(scene)
            assert await refused(grant.agent) is False, "without a store nobody is told why"


async def test_r14_a_database_that_was_moved_away() -> None:
    async with a_scene() as (scene, grant):
        path = database(scene)
        away = path.with_name("away.db")
        await revokes_unstored(scene, grant, fails=lambda: path.rename(away))
        await creates_nothing(scene, "moved or replaced")
        await lapses(scene)
        away.rename(path)
        await comes_back(scene)
        assert await refused(grant.agent)
