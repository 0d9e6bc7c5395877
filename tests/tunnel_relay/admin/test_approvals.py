"""Who sees and decides what, by the commands."""

from pathlib import Path

from shared.jsonrpc.canonical import digest
from shared.keys import PrivateKey, key_fingerprint
from tests.tunnel_relay.admin.test_service import refused
from tests.tunnel_relay.approvals.scene import SHA, an_office, with_session
from tests.tunnel_relay.console.stage import PASSWORD, a_console
from tunnel_relay.admin.commands import run_command
from tunnel_relay.admin.logins import FRESH
from tunnel_relay.admin.service import Admin
from tunnel_relay.errors import Code


async def test_everything_that_is_approved_is_shown(tmp_path: Path) -> None:
    """P28."""
    async with an_office(tmp_path) as office:
        asked = await office.ask()
        shown = await office.run("pia", "approval_show", approval=asked.id[:8])
        assert shown["text"] == '{"arguments":{"text":"hello","to":"a@example.com"}}'
        assert digest({"arguments": {"to": "a@example.com", "text": "hello"}}) == shown["arguments"]
        wanted = {"user": "uma", "agent": "bot", "server": "office/mail", "tool": "send"}
        assert wanted.items() <= shown.items()
        assert (shown["class"], shown["definition"]) == ("external_send", SHA)
        assert (shown["state"], shown["approvals"], shown["count"]) == ("pending", [], 1)
        assert shown["signed_by"] == "the relay"
        done = await office.approve("pia", asked)
        assert (done["state"], done["approvals"][0]["user"]) == ("approved", "pia")


async def test_who_is_not_asked_does_not_even_see_it(tmp_path: Path) -> None:
    """P25: another group, or none."""
    async with an_office(tmp_path) as office:
        asked = await office.ask()
        for command in ("approval_show", "approval_approve"):
            outside = office.run("eve", command, approval=asked.id)
            assert await refused(outside) is Code.APPROVAL_UNKNOWN
        no = office.run("eve", "approval_deny", approval=asked.id, reason="no")
        assert await refused(no) is Code.APPROVAL_UNKNOWN
        assert await office.run("eve", "approval_list") == []
        # Who sees all decides no more for it.
        assert await refused(office.approve("ada", asked)) is Code.APPROVAL_UNKNOWN
        assert await refused(office.approve("otto", asked)) is Code.ROLE_NEEDED
        assert await refused(office.approve("pia", asked, reason="a\nb")) is Code.BAD_REQUEST
        for who in ("pia", "otto", "ada", "uma"):
            assert len(await office.run(who, "approval_list")) == 1


async def test_the_requester_and_the_operator_approve_nothing(tmp_path: Path) -> None:
    """P24."""
    async with an_office(tmp_path) as office:
        asked = await office.ask()
        assert await refused(office.approve("uma", asked)) is Code.OWN_REQUEST
        operator = run_command(office.admin, "approval_approve", {"approval": asked.id})
        assert await refused(operator) is Code.APPROVER_NEEDED
        shown = await office.run("uma", "approval_show", approval=asked.id)
        assert (shown["state"], shown["own"]) == ("pending", True)


async def test_an_admin_takes_any_approval_away(tmp_path: Path) -> None:
    async with an_office(tmp_path) as office:
        asked = await office.ask()
        done = await office.run("ada", "approval_deny", approval=asked.id, reason="no")
        assert (done["approval"]["state"], done["stored"]) == ("denied", True)
        assert await office.run("pia", "approval_list") == []
        (listed,) = await office.run("pia", "approval_list", every=True)
        assert (listed["decided_by"], listed["reason"]) == ("ada", "no")
        assert (await office.admin.status())["approvals"] == 0


async def test_over_http_agents_get_no_word_in_and_statuses_say_what_is_wrong(
    tmp_path: Path,
) -> None:
    """P24, P25."""
    async with a_console(tmp_path) as stage:
        await people_beside(stage.admin)
        office = await with_session(stage.admin)
        asked = await office.ask()
        given = {"approval": asked.id}
        made = await stage.admin.session_create("uma", "bot", "office/mail")
        for token in (made["token"], "mts_" + "x" * 43):
            bearer = {"Authorization": f"Bearer {token}"}
            for command in ("approval_approve", "approval_deny"):
                answer = await stage.nobody().call(command, given, bearer)
                assert answer.status_code == 403
                assert answer.json()["error"]["code"] == "MT1129"
        statuses = {}
        for who in ("uma", "eve", "otto", "paul"):
            bearer = {"Authorization": f"Bearer {await stage.token(who)}"}
            answer = await stage.nobody().call("approval_approve", given, bearer)
            statuses[who] = answer.status_code
        assert statuses == {"uma": 403, "eve": 404, "otto": 403, "paul": 200}


async def people_beside(admin: Admin) -> None:
    """Let those of the console be those of the office too."""
    for who in ("uma", "otto", "pia", "ada"):
        roles = ["approver"] if who == "uma" else None
        await admin.user_change(who, groups=["ops"], roles=roles)
    await admin.user_add("paul", roles=["approver"], groups=["ops"])
    await admin.user_add("eve", roles=["approver"], groups=["sales"])


async def test_a_login_that_is_stale_decides_nothing(tmp_path: Path) -> None:
    """U17: neither by the API of the pages."""
    async with a_console(tmp_path) as stage:
        await people_beside(stage.admin)
        office = await with_session(stage.admin)
        asked = await office.ask()
        pia = await stage.logged_in("pia")
        clock = stage.admin.clock
        stage.admin.clock = lambda: clock() + FRESH
        stale = await pia.call("approval_approve", {"approval": asked.id})
        assert (stale.status_code, stale.json()["error"]["code"]) == (403, "MT1126")
        assert (await pia.call("approval_list")).status_code == 200
        again = await stage.logged_in("pia")
        assert (await again.call("approval_approve", {"approval": asked.id})).status_code == 200
        assert PASSWORD not in str(stage.events.newest(50))


async def test_what_a_key_signs_is_shown(tmp_path: Path) -> None:
    key = PrivateKey.generate()
    async with an_office(tmp_path) as office:
        asked = await office.ask(keys=(key_fingerprint(key.public),))
        shown = await office.run("pia", "approval_show", approval=asked.id)
        assert shown["signed_by"] == "approvers' keys"
        assert shown["payload"].startswith('{"agent":"bot","arguments":"')
