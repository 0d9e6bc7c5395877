"""Passkeys are added by a browser's page, kept, and removed for good."""

from pathlib import Path

from shared.permit import passkey_challenge
from tests.helpers.passkeys import SoftPasskey
from tests.tunnel_relay.admin.test_service import refused
from tests.tunnel_relay.approvals.scene import an_office
from tests.tunnel_relay.making import an_admin
from tunnel_relay.admin.commands import Who, run_command
from tunnel_relay.admin.passkeys import MAX_PASSKEYS
from tunnel_relay.approvals.decide import permit_of
from tunnel_relay.errors import Code
from tunnel_relay.store.base import Role


async def test_no_token_and_no_operator_adds_one(tmp_path: Path) -> None:
    """U17: only a page, for a login that is not stale."""
    given = {"name": "a key", "credential": "AAAA", "key": SoftPasskey.make().public.text()}
    roles = frozenset((Role.ADMIN,))
    async with an_office(tmp_path) as office:
        add = run_command(office.admin, "passkey_add", given)
        assert await refused(add) is Code.PAGE_NEEDED
        assert await refused(office.run("pia", "passkey_add", **given)) is Code.PAGE_NEEDED
        stale = Who("pia", roles, fresh=False, on_page=True)
        add = run_command(office.admin, "passkey_add", given, stale)
        assert await refused(add) is Code.LOGIN_STALE
        assert office.admin.passkeys.listed() == []
        page = Who("pia", roles, on_page=True)
        for wrong in ({"key": "x"}, {"credential": ""}, {"credential": "="}):
            add = run_command(office.admin, "passkey_add", given | wrong, page)
            assert await refused(add) is Code.PASSKEY_REFUSED
        await run_command(office.admin, "passkey_add", given, page)
        again = run_command(office.admin, "passkey_add", given, page)
        assert await refused(again) is Code.PASSKEY_REFUSED
        for _ in range(MAX_PASSKEYS - 1):
            await office.passkey("pia", SoftPasskey.make())
        assert await refused(office.passkey("pia", SoftPasskey.make())) is Code.PASSKEY_REFUSED


async def test_everybody_sees_and_removes_their_own_only(tmp_path: Path) -> None:
    """U06."""
    async with an_office(tmp_path) as office:
        hers = await office.passkey("pia", SoftPasskey.make())
        his = await office.passkey("paul", SoftPasskey.make())

        async def seen(who: str, user: str | None = None) -> list[str]:
            return [each["id"] for each in await office.run(who, "passkey_list", user=user)]

        assert await seen("pia") == [hers.id]
        assert await seen("pia", "paul") == []
        assert await seen("otto") == [hers.id, his.id]
        for other in ("paul", "otto"):
            gone = office.run(other, "passkey_remove", passkey=hers.id)
            assert await refused(gone) is Code.PASSKEY_UNKNOWN
        short = office.run("pia", "passkey_remove", passkey=hers.id[:5])
        assert await refused(short) is Code.PASSKEY_UNKNOWN
        done = await office.run("pia", "passkey_remove", passkey=hers.id[:8])
        assert (done["passkey"]["id"], done["stored"]) == (hers.id, True)
        await office.run("ada", "passkey_remove", passkey=his.id)
        assert await seen("otto") == []


async def test_a_restart_keeps_them_and_when_they_signed(tmp_path: Path) -> None:
    pia = SoftPasskey.make()
    async with an_office(tmp_path) as office:
        kept = await office.passkey("pia", pia)
        gone = await office.passkey("pia", SoftPasskey.make())
        await office.run("pia", "passkey_remove", passkey=gone.id)
        asked = await office.ask(keys=(pia.public.fingerprint,))
        shown = await office.run("pia", "approval_show", approval=asked.id)
        assert [each["id"] for each in shown["passkeys"]] == [kept.id]
        theirs = await office.run("paul", "approval_show", approval=asked.id)
        assert theirs["passkeys"] == []
        made = pia.sign(passkey_challenge(permit_of(asked))).text()
        await office.approve("pia", asked, key=kept.key, signature=made)
        before = office.admin.passkeys.listed()
    async with an_admin(tmp_path) as admin:
        assert admin.passkeys.listed() == before
        assert before[0].last_used is not None
