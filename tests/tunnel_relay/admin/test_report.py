"""The command behind the report: who may give it, what is in it, and that it stays small."""

import json
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from shared.policy.classes import ToolClass
from shared.wire.tools import PinState
from tests.tunnel_relay.making import RecordedLinks, an_admin, known
from tests.tunnel_relay.test_tools import ONE, told, word
from tunnel_relay.admin import report
from tunnel_relay.admin.commands import Who, run_command
from tunnel_relay.admin.service import Admin
from tunnel_relay.errors import Code, RelayError
from tunnel_relay.store.base import Role


async def ask(admin: Admin, *roles: Role) -> dict[str, Any]:
    found: dict[str, Any] = await run_command(admin, "report", {}, Who("x", frozenset(roles)))
    return found


async def test_auditors_and_admins_may_ask_and_nobody_else(tmp_path: Path) -> None:
    async with an_admin(tmp_path) as admin:
        assert (await ask(admin, Role.AUDITOR))["tunnels"] == []
        assert (await ask(admin, Role.ADMIN))["map"] == []
        for role in (Role.USER, Role.APPROVER):
            with pytest.raises(RelayError) as refused:
                await ask(admin, role)
            assert refused.value.code is Code.ROLE_NEEDED


async def test_it_says_what_the_relay_knows_and_no_secret(tmp_path: Path) -> None:
    async with an_admin(tmp_path) as admin:
        links = admin.links = RecordedLinks()
        put = word("put", ToolClass.WRITE)
        links.offered = [told(ONE, word("look"), put, word("fresh", None, state=PinState.NEW))]
        made = await admin.tunnel_create("office", "uma")
        await admin.user_add("ada", roles=["admin"], password=SecretStr("a long password"))
        await admin.user_change("uma", groups=["staff"])
        granted = await admin.session_create("uma", "bot", "office/git", classes=["read"])
        token = await admin.user_token("ada")
        ended = await admin.session_create("uma", "bot", "office/git")
        await admin.session_revoke(ended["session"]["id"], reason="over")
        found = await ask(admin, Role.AUDITOR)
        text = json.dumps(found)
        for secret in (made["join_code"], granted["token"], token["token"], "a long password"):
            assert secret not in text
        assert "argon2" not in text
        assert found["servers"][0]["classes"] == {"read": 1, "write": 1}
        states = {each["tool"]: each["state"] for each in found["tools"]}
        assert states == {"fresh": "new", "look": "pinned", "put": "pinned"}
        assert found["sessions"]["live"] == 1
        assert found["sessions"]["ended"] == {"revoked": 1}
        assert found["sessions"]["unnarrowed"] == 0
        assert [each["name"] for each in found["tunnels"]] == ["office"]
        (row,) = found["map"]
        assert (row["user"], row["agent"], row["server"]) == ("uma", "bot", "office/git")
        assert (row["groups"], row["live"]) == (["staff"], True)
        assert row["classes"]["write"] == ["allow"]
        assert found["audit"]["on"] is True


async def test_a_relay_whose_policy_cannot_be_read_says_so(tmp_path: Path) -> None:
    async with an_admin(tmp_path) as admin:
        await admin.tunnel_create("office", "uma")
        admin.policy = None
        (admin.settings.policy or admin.settings.state_dir / "relay-policy.yaml").write_text("{")
        found = await ask(admin, Role.AUDITOR)
        assert found["policy"]["problem"].startswith("MT1101")
        assert found["policy"]["rules"] == []
        assert found["map"] == []


async def test_what_there_is_too_much_of_is_left_out_and_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(report, "MOST", 3)
    async with an_admin(tmp_path) as admin:
        links = admin.links = RecordedLinks()
        links.offered = [told(ONE, word("look"))]
        await admin.tunnel_create("office", "uma")
        for number in range(5):
            name = f"user{number}"
            await known(admin, name)
            await admin.session_create(name, "bot", "office/git")
        found = await ask(admin, Role.AUDITOR)
        assert len(found["users"]) == len(found["map"]) == 3
        assert found["left_out"] == {"users": 3, "map": 1}
