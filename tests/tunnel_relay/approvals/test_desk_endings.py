"""What ends a request or a yes before it is used, and that nothing revives it."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from shared.permit import passkey_challenge
from tests.helpers.passkeys import SoftPasskey
from tests.tunnel_relay.admin.test_service import broken, mended, refused
from tests.tunnel_relay.approvals.scene import PARAMS, an_office, given_params
from tests.tunnel_relay.making import an_admin
from tunnel_relay.approvals.decide import permit_of
from tunnel_relay.errors import Code


@pytest.mark.parametrize("change", [{"policy": "f" * 64}, {"definition": "f" * 64}])
async def test_another_policy_or_definition_takes_a_new_approval(
    tmp_path: Path, change: dict[str, Any]
) -> None:
    """P26: the old request is of no use any more, approved or not."""
    async with an_office(tmp_path) as office:
        first = await office.ask()
        second = await office.ask(**change)
        assert second.id != first.id
        assert await refused(office.approve("pia", first)) is Code.APPROVAL_OVER
        await office.approve("pia", second)
        third = await office.ask()
        assert third.id not in (first.id, second.id)
        desk = office.admin.approvals
        assert (await desk.take(office.session.id, "send", PARAMS)).approval is None


async def test_an_unknown_denied_or_expired_approval_gives_nothing(tmp_path: Path) -> None:
    """P23."""
    async with an_office(tmp_path) as office:
        admin, desk = office.admin, office.admin.approvals
        denied = await office.ask()
        await office.run("pia", "approval_deny", approval=denied.id, reason="no")
        assert await refused(office.approve("pia", denied)) is Code.APPROVAL_OVER
        assert (await desk.take(office.session.id, "send", PARAMS)).approval is None
        late = await office.ask({"arguments": {}}, ttl=60)
        given = await office.ask({"arguments": {"n": 1}}, ttl=60)
        await office.approve("pia", given)
        clock = admin.clock
        admin.clock = lambda: clock() + 61
        assert await refused(office.approve("pia", late)) is Code.APPROVAL_OVER
        assert not await admin.store.consume_approval(given.id, admin.clock())
        assert (await desk.take(office.session.id, "send", given_params())).approval is None
        assert await refused(office.approve("pia", replace(late, id="9" * 32))) is (
            Code.APPROVAL_UNKNOWN
        )


async def test_a_clock_that_is_set_back_revives_nothing(tmp_path: Path) -> None:
    """P23."""
    async with an_office(tmp_path) as office:
        admin, desk = office.admin, office.admin.approvals
        await office.approve("pia", await office.ask(ttl=60))
        clock = admin.clock
        admin.sessions.reach(clock() + 61)
        assert (await desk.take(office.session.id, "send", PARAMS)).approval is None


@pytest.mark.parametrize("what", ["session", "user", "agent", "owner", "lock", "approver", "role"])
@pytest.mark.parametrize("when", ["before", "after"])
async def test_who_or_what_is_off_in_between_ends_it(tmp_path: Path, what: str, when: str) -> None:
    """P27: looked at when it is approved, and again when the call goes out."""
    async with an_office(tmp_path) as office:
        admin, desk = office.admin, office.admin.approvals
        await admin.agent_add("bot", ["https://a.example/cb"], "bot")
        asked = await office.ask(count=2)
        await office.approve("pia", asked)
        if when == "after":
            await office.approve("paul", asked)
        match what:
            case "session":
                await admin.session_revoke(office.session.id)
            case "user":
                await admin.user_disable("uma")
            case "agent":
                await admin.agent_disable("bot")
            case "owner":
                await admin.user_add("abe", roles=["admin"])
                await admin.user_disable("ada")
            case "lock":
                await admin.lock_add("upstream", "office/mail", "look into it")
            case "approver":
                await admin.user_disable("pia")
            case _:
                await admin.user_change("pia", groups=["sales"])
        if when == "before":
            assert await refused(office.approve("paul", asked)) is Code.APPROVAL_OVER
        assert (await desk.take(office.session.id, "send", PARAMS)).approval is None
        shown = await office.run("paul", "approval_show", approval=asked.id)
        assert shown["problem"]


async def test_what_ends_while_the_store_is_asked_does_not_go_out(tmp_path: Path) -> None:
    """P27."""
    async with an_office(tmp_path) as office:
        admin, desk = office.admin, office.admin.approvals
        await office.approve("pia", await office.ask())
        consume = admin.store.consume_approval

        async def slowly(approval: str, now: float) -> bool:
            used = await consume(approval, now)
            await admin.session_revoke(office.session.id)
            return used

        admin.store.consume_approval = slowly  # type: ignore[method-assign] # takes its time
        assert (await desk.take(office.session.id, "send", PARAMS)).approval is None


async def test_a_yes_is_taken_back_before_it_is_used_though_the_store_fails(
    tmp_path: Path,
) -> None:
    async with an_office(tmp_path) as office:
        asked = await office.ask()
        await office.approve("pia", asked)
        broken(tmp_path, "approvals")
        done = await office.run("paul", "approval_deny", approval=asked.id, reason="wait")
        assert (done["stored"], done["journalled"]) == (False, True)
        desk = office.admin.approvals
        assert (await desk.take(office.session.id, "send", PARAMS)).approval is None
        mended(tmp_path, "approvals")
        session = office.session.id
    async with an_admin(tmp_path) as admin:
        assert (await admin.approvals.take(session, "send", PARAMS)).approval is None


async def test_what_a_removed_passkey_approved_can_do_nothing_any_more(tmp_path: Path) -> None:
    """P27: as with an approver who lost the role."""
    pia = SoftPasskey.make()
    async with an_office(tmp_path) as office:
        asked = await office.ask(keys=(pia.public.fingerprint,))
        registered = await office.passkey("pia", pia)
        made = pia.sign(passkey_challenge(permit_of(asked))).text()
        await office.approve("pia", asked, key=pia.public.text(), signature=made)
        await office.run("pia", "passkey_remove", passkey=registered.id)
        shown = await office.run("pia", "approval_show", approval=asked.id)
        assert shown["problem"] == "the passkey of pia that signed it is removed"
        taken = await office.admin.approvals.take(office.session.id, "send", PARAMS)
        assert taken.approval is None


async def test_the_log_names_a_session_as_commands_take_it(tmp_path: Path) -> None:
    """In an incident a line of the log is what one copies from."""
    with capture_logs() as said:
        async with an_office(tmp_path) as office:
            session = office.session.id
            await office.ask()
            await office.run("ada", "session_revoke", session=session)
    named = {each["event"]: each["session"] for each in said if "session" in each}
    assert {"session_created", "approval_asked", "session_revoked"} <= named.keys()
    assert set(named.values()) == {session[:12]}
