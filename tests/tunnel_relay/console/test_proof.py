"""U17: who decides, or gives rights, has proved lately that it is them."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from tests.tunnel_relay.admin.test_approvals import people_beside
from tests.tunnel_relay.approvals.scene import with_session
from tests.tunnel_relay.console.stage import PASSWORD, Hand, Stage, a_console, cookie_of
from tests.tunnel_relay.identity.key_host import key_host
from tests.tunnel_relay.identity.minting import NOW
from tests.tunnel_relay.identity.provider import FalseProvider
from tunnel_relay.admin.commands import GIVING
from tunnel_relay.admin.logins import FRESH
from tunnel_relay.identity.oidc import OidcClient
from tunnel_relay.settings_issuers import AllowRule, OidcSettings
from tunnel_relay.store.approvals import State
from tunnel_relay.store.base import Role

NEW = "another long password"
FORMS: dict[str, dict[str, Any]] = {
    "/users/add": {"user": "new", "password": NEW, "roles": "approver"},
    "/users/change": {"user": "otto", "groups": "ops"},
    "/users/password": {"user": "otto", "password": NEW},
    "/users/enable": {"user": "otto"},
    "/tunnels/create": {"name": "garage", "owner": "ada"},
    "/tunnels/office/rotate": {},
    "/tunnels/office/enable": {},
    "/agents/add": {"agent": "newbot", "redirect_uris": "https://a.example/cb"},
    "/agents/enable": {"agent": "desk"},
    "/locks/remove": {"lock": ""},
}
"""Every form that gives something, and what is filled in."""


async def stale(stage: Stage, user: str) -> Hand:
    """Log somebody in, longer ago than they may decide."""
    hand = await stage.logged_in(user)
    login = stage.app.logins.find(hand.cookie or "", stage.admin.clock())
    assert login is not None
    login.proved -= FRESH
    return hand


async def api(hand: Hand, command: str, **arguments: Any) -> tuple[int, str]:
    """Give a command as a script of the page would; returns status and code."""
    answer = await hand.call(command, arguments)
    return answer.status_code, answer.json().get("error", {}).get("code", "")


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


async def test_nothing_that_would_outlive_a_stale_login_is_given(tmp_path: Path) -> None:
    """A token, an account or a role of its own would decide where the login may not."""
    async with a_console(tmp_path) as stage:
        await people_beside(stage.admin)
        ada = await stale(stage, "ada")
        for command in sorted(GIVING):
            assert await api(ada, command) == (403, "MT1126"), command
        assert await api(ada, "user_token", user="ada") == (403, "MT1126")
        assert await stage.admin.user_tokens() == []
        # What can give asks though it takes away this time.
        assert await api(ada, "user_change", user="otto", roles=[]) == (403, "MT1126")
        # To only take away, no login is too old; and a token is as good as its making was.
        assert (await api(ada, "user_disable", user="otto"))[0] == 200
        token = {"Authorization": f"Bearer {await stage.token('abe')}"}
        made = await stage.nobody().call("user_token", {"user": "abe"}, token)
        assert made.status_code == 200


@pytest.mark.parametrize("path", FORMS)
async def test_a_form_that_gives_takes_the_password_of_a_stale_login(
    tmp_path: Path, path: str
) -> None:
    async with a_console(tmp_path) as stage:
        await people_beside(stage.admin)
        await with_session(stage.admin)
        await stage.admin.agent_add("desk", redirect_uris=["https://a.example/cb"])
        lock = await stage.admin.lock_add("user", "eve", "gone")
        fields = FORMS[path] | ({"lock": lock["lock"]["id"]} if path == "/locks/remove" else {})
        ada = await stale(stage, "ada")
        for given in ({}, {"current_password": "wrong password"}):
            refused = await ada.post(path, fields | given)
            assert (refused.status_code, "MT1126" in refused.text) == (403, True)
        assert 'name="current_password"' in refused.text
        done = await ada.post(path, fields | {"current_password": PASSWORD})
        assert done.status_code in (200, 303), done.text
        # Proved for the next one too, for a while.
        next_form = {"user": "pia", "groups": "ops"}
        assert (await ada.post("/users/change", next_form)).status_code == 303


async def test_ones_own_password_takes_the_one_of_now(tmp_path: Path) -> None:
    """However fresh the login is: who sits down at an open console does not take it over."""
    async with a_console(tmp_path) as stage:
        ada, fields = await stage.logged_in("ada"), {"user": "ada", "password": NEW}
        before = stage.admin.directory.users["ada"].password
        assert "Your password of now" in (await ada.get("/user?user=ada")).text
        assert "Your password of now" not in (await ada.get("/user?user=otto")).text
        for given in ({}, {"current_password": NEW}):
            refused = await ada.post("/users/password", fields | given)
            assert (refused.status_code, "MT1126" in refused.text) == (403, True)
        token = {"Authorization": f"Bearer {await stage.token('ada')}"}
        for hand, headers in ((ada, {}), (stage.nobody(), token)):
            answer = await hand.call("user_password", fields, headers)
            assert answer.status_code == 403
        assert stage.admin.directory.users["ada"].password == before
        done = await ada.post("/users/password", fields | {"current_password": PASSWORD})
        assert done.status_code == 303
        assert stage.admin.directory.users["ada"].password != before
        # Those of others are an admin's to set.
        abe = await stage.logged_in("abe")
        given = {"user": "otto", "password": NEW}
        assert (await abe.post("/users/password", given)).status_code == 303


@asynccontextmanager
async def at_a_provider(folder: Path) -> AsyncIterator[tuple[Stage, FalseProvider]]:
    async with key_host() as host:
        provider = FalseProvider(host)
        rule = AllowRule(group="ops", roles=(Role.APPROVER,))
        settings = OidcSettings(issuer=host.url, client_id="relay", name="Example", allow=[rule])
        made: list[OidcClient] = []

        def client(admin: Any) -> OidcClient:
            admin.clock = lambda: NOW
            admin.settings = admin.settings.model_copy(update={"oidc": settings})
            made.append(OidcClient(admin, settings, None))
            return made[0]

        async with a_console(folder, oidc=client) as stage:
            await made[0].provider.fetch()
            yield stage, provider


async def logged_in_there(
    stage: Stage, provider: FalseProvider, then: str = "console", **claims: Any
) -> tuple[Hand, dict[str, str]]:
    """Log in at the provider; returns the login, and what the provider was asked for."""
    hand = stage.nobody()
    sent = await hand.get(f"/login/oidc/start?next={then}")
    assert sent.status_code == 303, sent.text
    address = sent.headers["location"]
    provider.answers(address, **claims)
    asked = {name: value for name, (value,) in parse_qs(urlsplit(address).query).items()}
    back = f"/login/oidc/callback?state={asked['state']}&code=c&iss={provider.host.url}"
    welcome = await hand.get(back)
    assert welcome.status_code == 200, welcome.text
    hand.cookie = cookie_of(welcome)
    login = stage.app.logins.find(hand.cookie, NOW)
    assert login is not None
    hand.csrf = login.csrf
    return hand, asked


@pytest.mark.parametrize("said", [None, int(NOW - FRESH), int(NOW) - 7200, int(NOW)])
async def test_a_provider_that_let_a_browser_in_proves_nothing(
    tmp_path: Path, said: int | None
) -> None:
    """Its cookie logs the same browser in again, without a question; then nothing is decided."""
    async with at_a_provider(tmp_path) as (stage, provider):
        await people_beside(stage.admin)
        office = await with_session(stage.admin)
        asked = await office.ask(users=(f"{provider.host.url}#u-1",))
        hand, wanted = await logged_in_there(stage, provider, auth_time=said)
        assert (wanted["max_age"], "prompt" in wanted) == ("300", False)
        page = f"/approvals/{asked.id}"
        way = "/login/oidc/start?next=proof"
        fresh = said == int(NOW)
        assert (
            f'<a href="{way}">Log in again with Example</a>' in (await hand.get(page)).text
        ) is (not fresh)
        done = await hand.post(f"{page}/approve", {"password": "anything"})
        assert done.status_code == (303 if fresh else 403)
        if not fresh:
            hand, wanted = await logged_in_there(stage, provider, "proof", auth_time=int(NOW))
            assert (wanted["max_age"], wanted["prompt"]) == ("300", "login")
            assert (await hand.post(f"{page}/approve")).status_code == 303
