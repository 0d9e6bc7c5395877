"""The page of passkeys, used as a browser's form uses it; the real one is in tests/system."""

from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx2

from shared.passkey import encode
from shared.permit import passkey_challenge
from tests.helpers.passkeys import SoftPasskey
from tests.tunnel_relay.admin.test_approvals import people_beside
from tests.tunnel_relay.approvals.scene import with_passkey, with_session
from tests.tunnel_relay.console.stage import PASSWORD, Hand, a_console
from tunnel_relay.admin.logins import FRESH
from tunnel_relay.approvals.decide import permit_of
from tunnel_relay.console.registration import registration_challenge
from tunnel_relay.store.approvals import State


def by_name(hand: Hand) -> dict[str, str]:
    """Return headers of a page that was opened by a name: an address has no passkeys."""
    host = f"localhost:{urlsplit(hand.origin).port}"
    return {"Host": host, "Origin": f"http://{host}"}


def a_passkey(hand: Hand) -> SoftPasskey:
    return SoftPasskey.make(origin=by_name(hand)["Origin"])


async def add(
    hand: Hand, key: SoftPasskey, csrf: str | None = None, **fields: Any
) -> httpx2.Response:
    """Send the form as the page's script would fill it."""
    said, data = key.registered(registration_challenge(hand.csrf if csrf is None else csrf))
    sent = {"name": "my key", "client_data": encode(said), "authenticator_data": encode(data)}
    return await hand.post("/passkeys/add", sent | fields, **by_name(hand))


async def test_a_passkey_is_added_shown_and_removed(tmp_path: Path) -> None:
    async with a_console(tmp_path) as stage:
        pia = await stage.logged_in("pia")
        assert "None." in (await pia.get("/passkeys")).text
        key = a_passkey(pia)
        assert (await add(pia, key)).status_code == 303
        page = (await pia.get("/passkeys")).text
        assert f"&#34;pia&#34;: &#34;{key.public.text()}&#34;" in page
        assert key.public.fingerprint in page
        (kept,) = stage.admin.passkeys.listed("pia")
        assert (await pia.get("/passkeys/remove")).status_code == 405
        paul = await stage.logged_in("ada")
        assert key.public.text() not in (await paul.get("/passkeys")).text
        assert (await pia.post("/passkeys/remove", {"passkey": kept.id})).status_code == 303
        assert stage.admin.passkeys.listed() == []


async def test_only_what_was_made_for_this_login_is_added(tmp_path: Path) -> None:
    """U01, U17: another login's challenge, another page, a stale login; and otto may not."""
    async with a_console(tmp_path) as stage:
        pia, otto = await stage.logged_in("pia"), await stage.logged_in("otto")
        key, other = a_passkey(pia), await stage.logged_in("pia")
        assert "MT1291" in (await add(pia, key, other.csrf)).text
        assert (await add(pia, key, client_data="x")).status_code == 400
        assert "MT1291" in (await add(pia, SoftPasskey.make())).text
        assert (await add(pia, key, name="")).status_code == 400
        assert (await pia.post("/passkeys/add", {"csrf": ""})).status_code == 403
        assert (await add(otto, key)).status_code == 403
        clock = stage.admin.clock
        stage.admin.clock = lambda: clock() + FRESH
        assert "MT1126" in (await add(pia, key)).text
        assert stage.admin.passkeys.listed() == []
        assert (await add(pia, key, password=PASSWORD)).status_code == 303


async def test_a_passkeys_signature_proves_for_one_request_who_it_is(tmp_path: Path) -> None:
    """U17, P20: the login is stale, and stays that."""
    async with a_console(tmp_path) as stage:
        await people_beside(stage.admin)
        office = await with_session(stage.admin)
        pia = await stage.logged_in("pia")
        key = a_passkey(pia)
        asked = await office.ask(keys=(key.public.fingerprint,))
        other = await office.ask({"arguments": {"n": 1}}, keys=(key.public.fingerprint,))
        page = f"/approvals/{asked.id}"
        assert "data-passkey" not in (await pia.get(page)).text
        await with_passkey(stage.admin, "pia", key)
        clock = stage.admin.clock
        stage.admin.clock = lambda: clock() + FRESH
        shown = (await pia.get(page)).text
        assert f'data-challenge="{encode(passkey_challenge(permit_of(asked)))}"' in shown

        async def approve(path: str, flags: int = 5, **fields: Any) -> httpx2.Response:
            made = key.sign(passkey_challenge(permit_of(asked)), flags=flags)
            data, said, signature = made.text().split("~")
            sent = {"credential": "AAAA", "authenticator_data": data, "client_data": said}
            return await pia.post(f"{path}/approve", sent | {"signature": signature} | fields)

        for refused in (
            await approve(page, flags=1),
            await approve(page, signature="AAAA"),
            await approve(page, signature=""),
            await approve(page, credential="BBBB"),
            await approve(f"/approvals/{other.id}"),
        ):
            assert refused.status_code == 403
            assert "MT1125" in refused.text
        desk = stage.admin.approvals.requests
        assert (desk.get(asked.id) or asked).state is State.PENDING
        assert (await approve(page)).status_code == 303
        assert (desk.get(asked.id) or asked).state is State.APPROVED
        assert stage.admin.passkeys.listed("pia")[0].last_used is not None
        # It proved nothing beyond that.
        assert "Your password" in (await pia.get("/passkeys")).text
        assert (await pia.post(f"/approvals/{other.id}/approve")).status_code == 403
