"""What ended with its session, its user or a lock waits for nobody and cannot be approved (P27)."""

from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.tunnel_relay.admin.test_service import refused
from tests.tunnel_relay.approvals.scene import PARAMS, Office, an_office
from tests.tunnel_relay.approvals.scene import listed as shown_to
from tunnel_relay.approvals.requests import MAX_OF_SESSION, MAX_OF_USER
from tunnel_relay.errors import Code
from tunnel_relay.store.approvals import State

End = Callable[[Office], Awaitable[Any]]


async def by_revoking(office: Office) -> None:
    await office.run("ada", "session_revoke", session=office.session.id, reason="x")


async def by_disabling_the_user(office: Office) -> None:
    await office.run("ada", "user_disable", user="uma")


async def by_locking(office: Office) -> None:
    await office.run("ada", "lock_add", kind="upstream", subject="office/mail", reason="x")


async def by_time(office: Office) -> None:
    office.admin.sessions.reach(office.session.expires)


ENDS: list[End] = [by_revoking, by_disabling_the_user, by_locking, by_time]


async def listed(office: Office, every: bool = False) -> list[tuple[str, bool]]:
    found = await shown_to(office, "pia", every=every)
    return [(each["state"], each["problem"] is not None) for each in found]


@pytest.mark.parametrize("end", ENDS, ids=lambda end: end.__name__)
async def test_it_is_not_shown_as_pending_and_not_approved(tmp_path: Path, end: End) -> None:
    async with an_office(tmp_path) as office:
        desk, asked = office.admin.approvals, await office.ask()
        assert await listed(office) == [("pending", False)]
        assert desk.waiting_for("pia") == 1
        await end(office)
        assert await listed(office) == []
        assert desk.waiting_for("pia") == 0
        assert desk.pending() == []
        assert (await office.admin.status())["approvals"] == 0
        shown = await office.run("pia", "approval_show", approval=asked.id)
        over = "expired" if end is by_time else "ended"
        assert shown["state"] == over
        assert (shown["problem"] is not None) == (over == "ended")
        assert await listed(office, every=True) == [(over, over == "ended")]
        assert await refused(office.approve("pia", asked)) is Code.APPROVAL_OVER
        assert (await desk.take(office.session.id, "send", PARAMS)).approval is None


async def test_an_approved_one_is_ended_too(tmp_path: Path) -> None:
    async with an_office(tmp_path) as office:
        asked = await office.ask()
        await office.approve("pia", asked)
        assert await listed(office, every=True) == [("approved", False)]
        await by_revoking(office)
        assert await listed(office, every=True) == [("ended", True)]


async def test_a_lock_that_is_lifted_lets_it_stand_again(tmp_path: Path) -> None:
    async with an_office(tmp_path) as office:
        asked = await office.ask()
        made = await office.run("ada", "lock_add", kind="user", subject="uma", reason="x")
        assert await listed(office) == []
        await office.run("ada", "lock_remove", lock=made["lock"]["id"])
        assert await listed(office) == [("pending", False)]
        await office.approve("pia", asked)


async def test_what_an_approver_left_behind_is_asked_anew(tmp_path: Path) -> None:
    """The agent that repeats its call does not wait for what nobody can finish."""
    async with an_office(tmp_path) as office:
        asked = await office.ask(count=2)
        await office.approve("pia", asked)
        await office.run("ada", "user_disable", user="pia")
        again = await office.ask(count=2)
        assert again.id != asked.id
        known = office.admin.approvals.requests.get(asked.id)
        assert known is not None
        assert (known.state, "pia" in known.reason) == (State.EXPIRED, True)
        assert await office.ask(count=2) == again


async def test_requests_of_ended_sessions_leave_their_user_room(tmp_path: Path) -> None:
    async with an_office(tmp_path) as office:
        for _ in range(MAX_OF_USER // MAX_OF_SESSION):
            for number in range(MAX_OF_SESSION):
                await office.ask({"arguments": {"n": number}})
            await by_revoking(office)
            office = replace(office, session=await office.another_session())
        assert (await office.ask()).state is State.PENDING
