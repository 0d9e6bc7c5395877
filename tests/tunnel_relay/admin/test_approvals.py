"""Who sees and decides what, by the commands."""

from pathlib import Path
from typing import Any

import pytest

from shared.jsonrpc.canonical import digest
from shared.keys import PrivateKey, key_fingerprint
from tests.tunnel_relay.admin.test_service import refused
from tests.tunnel_relay.approvals.scene import SHA, Office, an_office, listed, with_session
from tests.tunnel_relay.console.stage import PASSWORD, a_console
from tunnel_relay.admin import approvals
from tunnel_relay.admin.commands import run_command
from tunnel_relay.admin.logins import FRESH
from tunnel_relay.admin.service import Admin
from tunnel_relay.errors import Code
from tunnel_relay.store.approvals import Approval


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
        assert await listed(office, "eve") == []
        # Who sees all decides no more for it.
        assert await refused(office.approve("ada", asked)) is Code.APPROVAL_UNKNOWN
        assert await refused(office.approve("otto", asked)) is Code.ROLE_NEEDED
        assert await refused(office.approve("pia", asked, reason="a\nb")) is Code.BAD_REQUEST
        for who in ("pia", "otto", "ada", "uma"):
            assert len(await listed(office, who)) == 1


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
        assert await listed(office, "pia") == []
        (denied,) = await listed(office, "pia", every=True)
        assert (denied["decided_by"], denied["reason"]) == ("ada", "no")
        assert (await office.admin.status())["approvals"] == 0


async def asked_for(office: Office, *tools: str) -> list[str]:
    """Ask about calls of these tools; returns the requests' identifiers."""
    return [(await office.ask({"name": tool, "arguments": {}}, tool=tool)).id for tool in tools]


async def in_pages(office: Office, who: str, limit: int, **wanted: Any) -> list[str]:
    """Return the identifiers of all that is listed, some at a time."""
    found: list[str] = []
    after: str | None = None
    while True:
        page = await office.run(who, "approval_list", limit=limit, after=after, **wanted)
        assert len(page["approvals"]) <= limit
        found += [each["id"] for each in page["approvals"]]
        after = page["next"]
        if after is None:
            return found


async def test_however_many_wait_all_are_found_and_counted(tmp_path: Path) -> None:
    async with an_office(tmp_path) as office:
        waits = await asked_for(office, *(f"send{number:02}" for number in range(12)))
        over = [waits.pop(0), waits.pop(4)]
        for each in over:
            await office.run("pia", "approval_deny", approval=each, reason="no")
        for limit in (1, 3, 10, 12, 100):
            assert await in_pages(office, "pia", limit) == waits
            assert await in_pages(office, "pia", limit, every=True) == [*waits, *reversed(over)]
            page = await office.run("pia", "approval_list", limit=limit)
            assert page["waiting"] == len(waits)
        page = await office.run("pia", "approval_list", every=True, query=" SEND11 ", limit=1)
        assert [each["id"] for each in page["approvals"]] == waits[-1:]
        assert page["waiting"] == 1
        assert await in_pages(office, "pia", 5, every=True, query="denied") == over[::-1]
        assert await in_pages(office, "eve", 5, every=True) == []


async def test_what_is_decided_between_two_pages_hides_nothing(tmp_path: Path) -> None:
    async with an_office(tmp_path) as office:
        asked = await asked_for(office, "a", "b", "c", "d")
        first = await office.run("pia", "approval_list", limit=2, every=True)
        for each in asked[:2]:
            await office.run("pia", "approval_deny", approval=each, reason="no")
        rest = await office.run("pia", "approval_list", every=True, after=first["next"])
        assert [each["id"] for each in rest["approvals"]] == [*asked[2:], asked[1], asked[0]]


async def test_a_look_at_the_list_goes_through_a_part_of_what_is_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with an_office(tmp_path) as office:
        asked = await asked_for(office, *(f"send{number}" for number in range(9)))
        for each in asked:
            await office.run("pia", "approval_deny", approval=each, reason="no")
        monkeypatch.setattr(approvals, "LOOKED_AT", 4)
        looks: list[str] = []
        sees = office.admin._sees

        def looked_at(approval: Approval) -> bool:
            looks.append(approval.id)
            return sees(approval)

        monkeypatch.setattr(office.admin, "_sees", looked_at)
        page = await office.run("eve", "approval_list", every=True)
        assert (page["approvals"], looks) == ([], asked[:4:-1])
        # What is not theirs to see has no name in what they get to go on with.
        assert not any(each in page["next"] for each in asked)
        assert await in_pages(office, "pia", 5, every=True, query="send0") == asked[:1]


@pytest.mark.parametrize(
    "wrong", [{"limit": 0}, {"limit": 501}, {"query": "x" * 201}, {"after": "x1"}, {"after": "w"}]
)
async def test_a_list_is_asked_for_within_bounds(tmp_path: Path, wrong: dict[str, Any]) -> None:
    async with an_office(tmp_path) as office:
        assert await refused(office.run("pia", "approval_list", **wrong)) is Code.BAD_REQUEST


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
