"""Pages: who is asked what, what stays between two of them, and what everybody is told alike."""

from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import anyio
import pytest
from pydantic import SecretStr

from tests.helpers.login import Browser, Form
from tests.tunnel_relay.admin.test_service import broken, mended
from tests.tunnel_relay.identity.authorization import CALLBACK, RESOURCE, Scene, a_server
from tests.tunnel_relay.making import URL
from tunnel_relay.identity.oauth import VERIFYING
from tunnel_relay.identity.pending import MAX_OF_ONE, REQUEST_SECONDS

Change = Callable[[Scene], Awaitable[Any]]


def text(browser: Browser) -> str:
    assert browser.page is not None
    return browser.page.text


async def test_two_agents_may_send_one_browser_at_the_same_time(tmp_path: Path) -> None:
    async with a_server(tmp_path) as scene:
        await scene.admin.agent_add("other", [CALLBACK])
        first = await scene.browser()
        second = Browser(first.http, URL)
        await first.open(scene.authorize())
        await second.open(scene.authorize("other"))
        await first.log_in("bob")
        await second.log_in("bob")
        for browser in (first, second):
            await browser.submit("allow")
            assert browser.brought["code"]


async def test_who_is_logged_in_is_asked_for_consent_only_and_for_each_agent(
    tmp_path: Path,
) -> None:
    async with a_server(tmp_path) as scene:
        browser = await scene.browser()
        await browser.open(scene.authorize())
        await browser.log_in("bob")
        await browser.submit("allow")
        await browser.open(scene.authorize())
        assert "Allow desk to use lab/server?" in text(browser)
        scene.now += 901
        await browser.open(scene.authorize())
        assert "password" in text(browser)


async def test_a_new_password_ends_the_logins_with_the_old_one(tmp_path: Path) -> None:
    async with a_server(tmp_path) as scene:
        browser = await scene.browser()
        await browser.open(scene.authorize())
        await browser.log_in("bob")
        await scene.admin.user_password("bob", SecretStr("another long password"))
        await browser.open(scene.authorize())
        assert "password" in text(browser)


async def test_a_new_password_ends_a_consent_that_waits_for_its_click(tmp_path: Path) -> None:
    """Whoever stole the browser keeps nothing of it: neither a page shown nor a login."""
    async with a_server(tmp_path) as scene:
        browser = await scene.browser()
        await browser.open(scene.authorize())
        await browser.log_in("bob")
        assert "Allow desk" in text(browser)
        await scene.admin.user_password("bob", SecretStr("another long password"))
        await browser.submit("allow")
        assert browser.brought["error"] == "access_denied"
        assert "code" not in browser.brought


@pytest.mark.parametrize("again", [False, True])
async def test_what_somebody_began_who_was_disabled_is_over_for_good(
    tmp_path: Path, again: bool
) -> None:
    """U16: being enabled again revives neither a login nor a page that waits for its click."""
    async with a_server(tmp_path) as scene:
        browser = await scene.browser()
        await browser.open(scene.authorize())
        await browser.log_in("bob")
        await scene.admin.user_disable("bob")
        await scene.admin.user_enable("bob")
        if again:
            await browser.open(scene.authorize())
            assert "password" in text(browser)
        else:
            await browser.submit("allow")
            assert browser.brought["error"] == "access_denied"


async def locked(scene: Scene, kind: str, subject: str) -> None:
    await scene.admin.lock_add(kind, subject, "a test")


REFUSING: dict[str, Change] = {
    "may not": lambda scene: scene.admin.user_change("bob", servers=[]),
    "user locked": lambda scene: locked(scene, "user", "bob"),
    "agent locked": lambda scene: locked(scene, "agent", "desk"),
    "upstream locked": lambda scene: locked(scene, "upstream", "lab/server"),
    "tunnel locked": lambda scene: locked(scene, "tunnel", "lab"),
    "tunnel disabled": lambda scene: scene.admin.tunnel_disable("lab"),
    "tunnel gone": lambda scene: scene.admin.tunnel_delete("lab"),
    "owner disabled": lambda scene: scene.admin.user_disable("ada"),
}


@pytest.mark.parametrize("why", REFUSING)
async def test_whatever_forbids_a_server_the_answer_is_the_same(tmp_path: Path, why: str) -> None:
    """Also after the consent page was shown: it is judged again when the form comes."""
    async with a_server(tmp_path) as scene:
        browser, shown_before = await scene.browser(), await scene.browser()
        await shown_before.open(scene.authorize())
        await shown_before.log_in("bob")
        await REFUSING[why](scene)
        await browser.open(scene.authorize())
        await browser.log_in("bob")
        assert "You may not use lab/server" in text(browser)
        await browser.submit("deny")
        await shown_before.submit("allow")
        wanted = {"error": "access_denied", "state": "s", "iss": URL}
        assert browser.brought == shown_before.brought == wanted


async def test_a_server_that_does_not_exist_looks_like_one_that_is_forbidden(
    tmp_path: Path,
) -> None:
    async with a_server(tmp_path) as scene:
        browser = await scene.browser()
        await browser.open(scene.authorize(resource=f"{URL}/t/nobody/knows/mcp"))
        await browser.log_in("bob")
        assert "You may not use nobody/knows" in text(browser)
        # A form that was made by hand gets no further than the button.
        fields = {**Form(text(browser)).fields, "decision": "allow"}
        answer = await browser.http.post("/oauth/consent", data=fields, headers={"Origin": URL})
        assert "error=access_denied" in answer.headers["location"]


async def test_a_user_disabled_between_login_and_consent_gives_nothing(tmp_path: Path) -> None:
    async with a_server(tmp_path) as scene:
        browser = await scene.browser()
        await browser.open(scene.authorize())
        await browser.log_in("bob")
        await scene.admin.user_disable("bob")
        await browser.submit("allow")
        assert browser.brought["error"] == "access_denied"
        assert scene.admin.directory.active_user("bob") is None


async def test_looking_changes_nothing(tmp_path: Path) -> None:
    """A GET never grants, with whatever parameters; a consent is worth one answer."""
    async with a_server(tmp_path) as scene:
        browser = await scene.browser()
        await browser.open(scene.authorize())
        await browser.log_in("bob")
        assert browser.page is not None
        here = str(browser.page.url)
        again = await browser.http.get(here + "&decision=allow")
        assert again.status_code == 200
        assert (await browser.http.get("/oauth/login")).status_code == 405
        page = browser.page
        await browser.submit("allow")
        browser.page = page
        await browser.submit("allow")
        assert browser.page.status_code == 403
        assert scene.live() == []


async def test_cookies_and_headers_of_the_pages(tmp_path: Path) -> None:
    async with a_server(tmp_path) as scene:
        browser = await scene.browser()
        await browser.open(scene.authorize())
        assert browser.page is not None
        login = browser.page
        await browser.log_in("bob")
        assert browser.page is not None
        for cookie in browser.http.cookies.jar:
            assert cookie.name.startswith("__Host-")
            assert (cookie.secure, cookie.path, cookie.domain_specified) == (True, "/", False)
            assert cookie.has_nonstandard_attr("HttpOnly")
            assert cookie.get_nonstandard_attr("SameSite") == "Lax"
        assert len(list(browser.http.cookies.jar)) == 2
        assert "form-action 'self';" in login.headers["content-security-policy"]
        policy = browser.page.headers["content-security-policy"]
        assert "form-action 'self' http://127.0.0.1:9;" in policy
        assert browser.page.headers["cache-control"] == "no-store"


async def test_an_agent_nobody_knew_is_stored_when_somebody_consents(tmp_path: Path) -> None:
    async with a_server(tmp_path, dynamic_registration=True) as scene:
        http = await scene.http()
        wanted = {"client_name": "An <b>agent</b>", "redirect_uris": [CALLBACK]}
        agent = (await http.post("/oauth/register", json=wanted)).json()["client_id"]
        for decision in ("deny", "allow"):
            assert agent not in scene.admin.directory.agents
            browser = await scene.browser()
            await browser.open(scene.authorize(agent))
            assert "<b>" not in text(browser)
            await browser.log_in("bob")
            assert "(the agent's own claim)" in text(browser)
            await browser.submit(decision)
        assert agent in {each.id for each in await scene.admin.store.agents()}


async def test_a_store_that_fails_grants_nothing(tmp_path: Path) -> None:
    async with a_server(tmp_path, dynamic_registration=True) as scene:
        http = await scene.http()
        made = await http.post("/oauth/register", json={"redirect_uris": [CALLBACK]})
        browser = await scene.browser()
        await browser.open(scene.authorize(made.json()["client_id"]))
        await browser.log_in("bob")
        broken(tmp_path, "agents")
        await browser.submit("allow")
        assert browser.page is not None
        assert browser.page.status_code == 503
        mended(tmp_path, "agents")


async def test_beginning_is_bounded_for_each_address(tmp_path: Path) -> None:
    async with a_server(tmp_path) as scene:
        http = await scene.http()
        statuses = [(await http.get(scene.authorize())).status_code for _ in range(61)]
        assert statuses == [200] * 60 + [429]
        assert int((await http.get(scene.authorize())).headers["retry-after"]) >= 1
        assert (await (await scene.http("192.0.2.2")).get(scene.authorize())).status_code == 200


async def test_u10_an_account_is_throttled_whoever_tries(tmp_path: Path) -> None:
    async with a_server(tmp_path) as scene:
        for number in range(10):
            browser = await scene.browser(f"192.0.2.{number + 1}")
            await browser.open(scene.authorize())
            await browser.log_in("bob", "a wrong password")
            assert browser.page is not None
            assert browser.page.status_code == 401
        await browser.log_in("bob")
        assert browser.page is not None
        assert browser.page.status_code == 429
        assert int(browser.page.headers["retry-after"]) > 1
        scene.now += 61
        await browser.log_in("bob")
        assert "Allow desk" in text(browser)


async def test_u10_an_attempt_that_the_relay_is_too_busy_for_costs_no_account_anything(
    tmp_path: Path,
) -> None:
    async with a_server(tmp_path) as scene:
        names = [f"nobody{number}" for number in range(VERIFYING)] + ["bob"] * 10
        browsers = [await scene.browser(f"192.0.2.{number + 1}") for number in range(len(names))]
        for browser in browsers:
            await browser.open(scene.authorize())
        async with anyio.create_task_group() as tasks:
            for browser, name in zip(browsers, names, strict=True):
                tasks.start_soon(browser.log_in, name, "a wrong password")
        statuses = [browser.page.status_code for browser in browsers if browser.page is not None]
        assert statuses == [401] * VERIFYING + [429] * 10
        await browsers[-1].log_in("bob")
        assert "Allow desk" in text(browsers[-1])


async def test_too_many_parameters_or_none_are_a_page(tmp_path: Path) -> None:
    async with a_server(tmp_path) as scene:
        http = await scene.http()
        for query in (
            "",
            "a=1&" * 60,
            "client_id=%ff",
            "client_id=desk&redirect_uri=" + "x" * 3000,
        ):
            answer = await http.get("/oauth/authorize?" + query)
            assert answer.status_code == 400
            assert "location" not in answer.headers


@pytest.mark.parametrize(
    "redirect_uri",
    [
        CALLBACK + "/../other",
        CALLBACK + "?next=https://evil.example",
        "http://127.0.0.1:9@evil.example/callback",
        "http://127.0.0.1.evil.example/callback",
        "https://127.0.0.1:9/callback",
        "//evil.example/callback",
        "javascript:alert(1)",
    ],
)
async def test_u11_no_open_redirect(tmp_path: Path, redirect_uri: str) -> None:
    async with a_server(tmp_path) as scene:
        http = await scene.http()
        for more in ({}, {"response_type": "token"}):
            answer = await http.get(scene.authorize(redirect_uri=redirect_uri, **more))
            assert answer.status_code == 400
            assert "location" not in answer.headers


async def test_a_missing_state_is_allowed_and_stays_missing(tmp_path: Path) -> None:
    async with a_server(tmp_path) as scene:
        browser = await scene.browser()
        await browser.open(scene.authorize(state=None))
        await browser.log_in("bob")
        await browser.submit("allow")
        assert set(browser.brought) == {"code", "iss"}


async def test_switched_off_there_is_nothing(tmp_path: Path) -> None:
    async with a_server(tmp_path, enabled=False) as scene:
        http = await scene.http()
        for path in ("/oauth/authorize", "/oauth/consent", "/oauth/static/style.css"):
            assert (await http.get(path)).status_code == 404
        for path in ("/oauth/token", "/oauth/revoke", "/oauth/register", "/oauth/login"):
            assert (await http.post(path)).status_code == 404
        path = RESOURCE.removeprefix(URL)
        assert (await http.get("/.well-known/oauth-protected-resource" + path)).status_code == 404


async def test_a_flood_of_logins_that_are_begun_ends_nobody_elses(tmp_path: Path) -> None:
    """One address has so many that wait; a further one waits, and those of others stay."""
    async with a_server(tmp_path) as scene:
        browser, flood = await scene.browser(), await scene.http("192.0.2.2")
        await browser.open(scene.authorize())
        statuses: Counter[int] = Counter()
        for _ in range(MAX_OF_ONE + 20):
            scene.now += 0.5  # as fast as one address may
            answer = await flood.get(scene.authorize())
            statuses[answer.status_code] += 1
        assert statuses == {200: MAX_OF_ONE, 429: 20}
        assert 200 < int(answer.headers["retry-after"]) < REQUEST_SECONDS
        await browser.log_in("bob")
        assert "Allow desk" in text(browser)
        await browser.submit("allow")
        assert browser.brought["code"]
        scene.now += int(answer.headers["retry-after"])
        assert (await flood.get(scene.authorize())).status_code == 200
