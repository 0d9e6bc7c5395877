"""A lock cuts what runs, refuses what is new, and lets all of it back when it is lifted."""

import pytest

from tests.helpers.agent import call
from tests.helpers.tunnel import TUNNEL, end
from tests.integration.scene import LINKS, SERVER, Scene, eventually, open_scene
from tests.integration.test_sessions import check_last_event, refused, running

pytestmark = [pytest.mark.system, pytest.mark.asyncio(loop_scope="session")]


@pytest.mark.usefixtures("clean")
@pytest.mark.parametrize(
    ("option", "subject"),
    [("--user", "eve"), ("--upstream", f"{TUNNEL}/server")],
)
async def test_a_lock_cuts_the_running_calls_it_is_about(
    scene: Scene, option: str, subject: str
) -> None:
    grant = await scene.grant(user="eve")
    async with grant.agent.open(call("driven", id=9, case="locked")) as reply:
        seen = await running(scene, reply, "locked")
        made = await scene.lab.relay_json("lock", "add", option, subject, "--reason", "test")
        await reply.end()
        check_last_event(reply, 9)
        await scene.upstream.until(seen.closed.is_set)
    try:
        assert made["cut"]["streams"] == 1
        assert made["cut"]["silent"] == []
        assert await refused(grant.agent)
        assert await refused(scene.agent) is (option == "--upstream")
        assert scene.upstream.calls("after-the-end") == [] or option == "--user"
    finally:
        await scene.lab.relay_command("lock", "remove", made["lock"]["id"])
    await scene.serves(grant.agent)
    await scene.serves()


@pytest.mark.slow
async def test_a_locked_client_is_cut_off_and_does_not_give_up() -> None:
    async with open_scene() as scene:
        shown = await scene.lab.relay_json("tunnel", "show", TUNNEL)
        (instance,) = shown["tunnel"]["instances"]
        words = ("--key", instance["id"], "--reason", "test")
        made = await scene.lab.relay_json("lock", "add", *words)
        assert made["cut"]["closed"] == LINKS
        await scene.linked(0)
        await eventually(lambda: "dialling again" in scene.log("client.log"))
        assert scene.lab.client is not None
        assert scene.lab.client.returncode is None, "it gave up"
        await end(scene.lab.client)
        await scene.lab.relay_command("lock", "remove", made["lock"]["id"])
        await scene.lab.start_client([SERVER])
        await scene.serves()
