"""U17: who decides has proved lately that it is them."""

from pathlib import Path
from typing import Any

from tests.tunnel_relay.admin.test_approvals import people_beside
from tests.tunnel_relay.approvals.scene import with_session
from tests.tunnel_relay.console.stage import PASSWORD, a_console
from tunnel_relay.admin.logins import FRESH
from tunnel_relay.store.approvals import State


async def test_a_stale_login_decides_with_the_password_and_not_without(tmp_path: Path) -> None:
    async with a_console(tmp_path) as stage:
        await people_beside(stage.admin)
        office = await with_session(stage.admin)
        asked, other = await office.ask(), await office.ask({"arguments": {"n": 1}})
        pia = await stage.logged_in("pia")
        clock = stage.admin.clock
        stage.admin.clock = lambda: clock() + FRESH
        page = f"/approvals/{asked.id}"
        assert "Your password" in (await pia.get(page)).text

        async def decide(what: str, **fields: Any) -> Any:
            return await pia.post(f"{page}/{what}", fields)

        for password in ({}, {"password": ""}, {"password": "wrong password"}):
            refused = await decide("approve", reason="x", **password)
            assert refused.status_code == 403
            assert "MT1126" in refused.text
        desk = stage.admin.approvals.requests
        assert (desk.get(asked.id) or asked).state is State.PENDING
        assert (await decide("approve", password=PASSWORD)).status_code == 303
        assert (desk.get(asked.id) or asked).state is State.APPROVED
        # Proved for the next one too, for a while.
        assert "Your password" not in (await pia.get(f"/approvals/{other.id}")).text


async def test_to_say_no_takes_no_proof(tmp_path: Path) -> None:
    async with a_console(tmp_path) as stage:
        await people_beside(stage.admin)
        asked = await (await with_session(stage.admin)).ask()
        pia = await stage.logged_in("pia")
        clock = stage.admin.clock
        stage.admin.clock = lambda: clock() + FRESH
        assert (await pia.post(f"/approvals/{asked.id}/deny", {"reason": "x"})).status_code == 303


async def test_passwords_cannot_be_tried_for_long(tmp_path: Path) -> None:
    async with a_console(tmp_path) as stage:
        await people_beside(stage.admin)
        asked = await (await with_session(stage.admin)).ask()
        pia = await stage.logged_in("pia")
        clock = stage.admin.clock
        stage.admin.clock = lambda: clock() + FRESH
        statuses = [
            (await pia.post(f"/approvals/{asked.id}/approve", {"password": "no"})).status_code
            for _ in range(12)
        ]
        assert statuses[0] == 403
        assert statuses[-1] == 429


async def test_who_has_no_password_here_logs_in_anew(tmp_path: Path) -> None:
    async with a_console(tmp_path) as stage:
        await people_beside(stage.admin)
        asked = await (await with_session(stage.admin)).ask()
        await stage.admin.user_add("https://id.example#olga", roles=["approver"], groups=["ops"])
        user = stage.admin.directory.users["https://id.example#olga"]
        olga = stage.nobody()
        olga.cookie, login = stage.app.logins.open(user, stage.admin.clock())
        olga.csrf = login.csrf
        page = f"/approvals/{asked.id}"
        login.proved -= FRESH
        assert "Log out and in again" in (await olga.get(page)).text
        refused = await olga.post(f"{page}/approve", {"password": "anything"})
        assert refused.status_code == 403
        login.proved += FRESH
        assert (await olga.post(f"{page}/approve")).status_code == 303
