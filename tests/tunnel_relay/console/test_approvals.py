"""The pages of approvals: everything is shown, and only a form of theirs decides."""

from pathlib import Path

from shared.keys import PrivateKey, key_fingerprint
from tests.tunnel_relay.admin.test_approvals import people_beside
from tests.tunnel_relay.approvals.scene import PARAMS, SHA, needs, with_session
from tests.tunnel_relay.console.stage import a_console
from tunnel_relay.store.approvals import State


async def test_a_request_is_shown_whole_and_approved_by_its_form(tmp_path: Path) -> None:
    async with a_console(tmp_path) as stage:
        await people_beside(stage.admin)
        office = await with_session(stage.admin)
        definition = '{"description":"Sends mail","name":"send"}'
        desk = stage.admin.approvals
        asked = await desk.ask(office.session, "send", PARAMS, needs(), definition)
        pia = await stage.logged_in("pia")
        listed = (await pia.get("/approvals")).text
        assert asked.id[:12] in listed
        assert '1<span class="hidden"> waiting for you</span>' in listed
        page = (await pia.get(f"/approvals/{asked.id}")).text
        for shown in ("uma", "bot", "office/mail", "external_send", SHA, asked.arguments):
            assert shown in page
        assert "&#34;to&#34;: &#34;a@example.com&#34;" in page
        assert "Sends mail" in page
        assert f"<code>{asked.session[:12]}</code>" in page
        done = await pia.post(f"/approvals/{asked.id}/approve", {"reason": "fine"})
        assert done.headers["location"] == f"/approvals/{asked.id}"
        page = (await pia.get(f"/approvals/{asked.id}")).text
        assert "Approved. The agent may repeat the call, once." in page
        assert "waiting for you" not in page
        denied = await pia.post(f"/approvals/{asked.id}/deny", {"reason": "changed my mind"})
        assert denied.status_code == 303
        for path in ("/approvals", f"/approvals/{asked.id}"):
            assert ">in " not in (await pia.get(path)).text
        assert "changed my mind" in (await pia.get(f"/approvals/{asked.id}")).text


async def test_more_than_one_page_of_what_waits_is_counted_and_found(tmp_path: Path) -> None:
    async with a_console(tmp_path) as stage:
        await people_beside(stage.admin)
        offices = [await with_session(stage.admin) for _ in range(3)]
        asked = [
            (await offices[number // 18].ask(tool=f"send{number:02}")).id for number in range(52)
        ]
        pia = await stage.logged_in("pia")
        first = (await pia.get("/approvals")).text
        assert first.count('id="approval-') == 50
        assert "52 waiting" in first
        assert "/approvals/live" in first
        older = first.split('rel="next"')[0].rpartition('href="')[2].partition('"')[0]
        rest = (await pia.get(older.replace("&amp;", "&"))).text
        assert rest.count('id="approval-') == 2
        assert f'id="approval-{asked[-1]}"' in rest
        assert "/approvals/live" not in rest
        found = (await pia.get("/approvals?query=send51")).text
        assert f'id="approval-{asked[-1]}"' in found
        assert found.count('id="approval-') == 1


async def test_a_get_and_a_form_of_another_page_change_nothing(tmp_path: Path) -> None:
    """P30, U01."""
    async with a_console(tmp_path) as stage:
        await people_beside(stage.admin)
        asked = await (await with_session(stage.admin)).ask()
        pia = await stage.logged_in("pia")
        for path in ("", "/approve", "/deny", "?approve=1&reason=x", "/approve?csrf=" + pia.csrf):
            answer = await pia.get(f"/approvals/{asked.id}{path}")
            assert answer.status_code in (200, 405)
        form = f"/approvals/{asked.id}/approve"
        assert (await pia.post(form, {"csrf": ""})).status_code == 403
        evil = {"Origin": "https://evil.example"}
        assert (await pia.post(form, None, **evil)).status_code == 403
        elsewhere = {"Sec-Fetch-Site": "cross-site"}
        assert (await pia.post(form, None, **elsewhere)).status_code == 403
        other = await stage.logged_in("pia")
        assert (await pia.post(form, {"csrf": other.csrf})).status_code == 403
        requests = stage.admin.approvals.requests
        assert (requests.get(asked.id) or asked).state is State.PENDING
        # A form that was sent once does nothing the second time.
        assert (await pia.post(form)).status_code == 303
        assert (await pia.post(form)).status_code == 409


async def test_who_is_not_asked_gets_no_page(tmp_path: Path) -> None:
    """P24, P25."""
    async with a_console(tmp_path) as stage:
        await people_beside(stage.admin)
        asked = await (await with_session(stage.admin)).ask(groups=("night",))
        pia = await stage.logged_in("pia")
        assert (await pia.get(f"/approvals/{asked.id}")).status_code == 404
        assert (await pia.post(f"/approvals/{asked.id}/approve")).status_code == 404
        assert asked.id[:12] not in (await pia.get("/approvals")).text
        otto = await stage.logged_in("otto")
        page = (await otto.get(f"/approvals/{asked.id}")).text
        assert 'id="approve"' not in page
        assert (await otto.post(f"/approvals/{asked.id}/approve")).status_code == 403


async def test_where_keys_are_listed_the_page_leads_to_the_command(tmp_path: Path) -> None:
    async with a_console(tmp_path) as stage:
        await people_beside(stage.admin)
        key = key_fingerprint(PrivateKey.generate().public)
        asked = await (await with_session(stage.admin)).ask(keys=(key,))
        pia = await stage.logged_in("pia")
        page = (await pia.get(f"/approvals/{asked.id}")).text
        assert f"tunnel-relay approval approve {asked.id[:12]} --key FILE" in page
        assert 'id="approve"' not in page
        refused = await pia.post(f"/approvals/{asked.id}/approve")
        assert (refused.status_code, "MT1125" in refused.text) == (403, True)


async def test_the_list_and_its_number_refresh_themselves(tmp_path: Path) -> None:
    async with a_console(tmp_path) as stage:
        await people_beside(stage.admin)
        office = await with_session(stage.admin)
        pia = await stage.logged_in("pia")
        assert "waiting for you" not in (await pia.get("/approvals/count")).text
        asked = await office.ask()
        assert "waiting for you" in (await pia.get("/approvals/count")).text
        assert asked.id in (await pia.get("/approvals/live")).text
        assert "approval_asked" not in (await pia.get("/approvals/live")).text
