"""Root looks at services that have users of their own, as systemd's DynamicUser= makes them."""

import json
import os
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import pytest_asyncio

from shared.audit import index
from shared.audit.notes import CHECKPOINTS
from tests.helpers.tunnel import CommandError, end
from tests.integration.scene import Scene, eventually, open_scene

pytestmark = [
    pytest.mark.system,
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.skipif(os.geteuid() != 0, reason="only root looks after a service of another user"),
]
SERVICE = 54321
"""Nobody's user here, as one that systemd makes up."""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def scene() -> AsyncIterator[Scene]:
    async with open_scene() as made:
        await made.linked()
        await made.serves()
        yield made


def hand_over(folder: Path) -> None:
    """Have all of a state folder belong to the service."""
    for each in (folder, *folder.rglob("*")):
        os.chown(each, SERVICE, SERVICE, follow_symlinks=False)


def of_others(folder: Path) -> list[str]:
    """Return what lies in it that the service could not use."""
    return [each.name for each in folder.rglob("*") if each.lstat().st_uid != SERVICE]


async def lines(scene: Scene, program: str) -> dict[str, Any]:
    """Return the lines of a doctor by their names, whatever it ends with."""
    run = scene.lab.relay_command if program == "relay" else scene.lab.client_command
    try:
        printed = await run("doctor", "--json")
    except CommandError as error:
        printed = error.stdout
    return {line["name"]: line for line in json.loads(printed)["lines"]}


def failed(found: dict[str, Any]) -> list[str]:
    return [name for name, line in found.items() if line["outcome"] == "FAIL"]


def keep_secrets_in(scene: Scene, state: Path) -> None:
    """Have the policy, and an upstream's credential, lie in the client's state folder."""
    policy = state / "policy.yaml"
    policy.write_text(scene.lab.policy)
    policy.chmod(0o600)
    secret = state / "token"
    secret.touch(0o600)
    secret.write_text("a-token-of-the-upstream")
    scene.lab.environment["TUNNEL_CLIENT_POLICY"] = str(policy)
    parts = urlsplit(scene.upstream.url)
    origin = f"{parts.scheme}://{parts.netloc}"
    held = f'{{ kind = "bearer", origin = "{origin}", value = "file:{secret}" }}'
    with scene.lab.client_config.open("a") as config:
        config.write(f'''
[[upstream]]
name = "held"
url = "{scene.upstream.url}"
pinning = "off"
catalog_at_start = false
credential = {held}
''')


async def test_a_healthy_client_is_found_healthy_and_stays_so(scene: Scene) -> None:
    state = scene.lab.folder / "client" / "state"
    await end(scene.lab.client)
    await scene.linked(0)
    keep_secrets_in(scene, state)
    hand_over(state)
    found = await lines(scene, "client")
    assert failed(found) == []
    # It made a link of its own, with a number that has to be on the disk first.
    assert found["signature"]["outcome"] == "PASS"
    assert "ok: " in await scene.lab.client_command("audit", "verify")
    await scene.lab.client_command("audit", "query", "--session", scene.main.id)
    await scene.lab.client_command("report", "--json")
    await scene.lab.client_command("check-config")
    await scene.lab.client_command("policy", "check")
    await scene.lab.client_command("policy", "test", "--user", "uma", "--agent", "bot")
    assert of_others(state) == []


async def test_root_does_not_serve_for_it(scene: Scene) -> None:
    hand_over(scene.lab.folder / "client" / "state")
    with pytest.raises(CommandError) as raised:
        await scene.lab.client_command("run")
    assert "belongs to another user" in raised.value.stderr
    assert "chown" not in raised.value.stderr


async def test_a_healthy_relay_is_found_healthy(scene: Scene) -> None:
    state = scene.lab.folder / "relay" / "state"
    # The relay of this scene is root's: what it has yet to make would not be the service's.
    await eventually((state / "audit" / CHECKPOINTS).exists)
    hand_over(state)
    assert failed(await lines(scene, "relay")) == []
    assert "ok: " in await scene.lab.relay_command("audit", "verify")
    await scene.lab.relay_command("audit", "query", "--session", scene.main.id)
    assert of_others(state / "audit") == []
    policy = state / "policy.yaml"
    policy.write_text(scene.lab.relay_config.with_name("relay-policy.yaml").read_text())
    policy.chmod(0o600)
    os.chown(policy, SERVICE, SERVICE)
    scene.lab.environment["TUNNEL_RELAY_POLICY"] = str(policy)
    await scene.lab.relay_command("check-config")
    await scene.lab.relay_command("policy", "check")


async def test_a_key_that_others_can_read_is_its_own_line(scene: Scene) -> None:
    key = scene.lab.folder / "relay" / "state" / "relay.key"
    key.chmod(0o644)
    try:
        assert failed(await lines(scene, "relay")) == ["keys"]
    finally:
        key.chmod(0o600)


async def test_of_a_relay_that_is_stopped_root_leaves_nothing_behind(scene: Scene) -> None:
    """What would open its database is refused: the files beside it would be root's."""
    state = scene.lab.folder / "relay" / "state"
    await end(scene.lab.relay)
    hand_over(state)
    before = sorted(each.name for each in state.rglob("*"))
    await scene.lab.relay_command("policy", "test", "--user", "uma", "--agent", "bot")
    with pytest.raises(CommandError) as raised:
        await scene.lab.relay_command("report", "--json")
    assert "belongs to another user" in raised.value.stderr
    assert of_others(state) == []
    assert sorted(each.name for each in state.rglob("*")) == before


async def test_an_index_that_root_left_is_replaced_by_the_service() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        left = folder / "segment.index"
        left.touch(0o600)
        os.chown(folder, SERVICE, SERVICE)
        child = os.fork()
        if not child:
            os.setresgid(SERVICE, SERVICE, SERVICE)
            os.setresuid(SERVICE, SERVICE, SERVICE)
            index._opened(left).close()
            os._exit(0)
        assert os.waitpid(child, 0)[1] == 0  # noqa: ASYNC222 - it ends at once
        assert left.stat().st_uid == SERVICE
        assert left.stat().st_size > 0
