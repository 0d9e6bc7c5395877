"""The console in a real Chromium: names stay text, other pages get nowhere, people get on.

Keeps pictures of the main pages, light and dark, in `tests/system/out/`.
"""

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import anyio.to_thread
import pytest

from tests.helpers.browser import Browser, browser
from tests.tunnel_relay.console.stage import PASSWORD, Stage, a_console
from tests.tunnel_relay.making import known

pytestmark = pytest.mark.system

PAGES = ("/", "/tunnels", "/sessions?state=all", "/users", "/agents", "/locks", "/events")


async def drive(work: Callable[[], None]) -> None:
    """Run what blocks beside the server."""
    await anyio.to_thread.run_sync(work)


def log_in(seen: Browser, stage: Stage, user: str = "ada") -> None:
    seen.open(stage.url + "/login")
    seen.fill("[name=user]", user)
    seen.fill("[name=password]", PASSWORD)
    seen.follow("main button")
    seen.find("nav[aria-label=Pages]")


def link(tunnel: str, letter: str, upstreams: list[str], round_trip_ms: float) -> dict[str, Any]:
    names = {"tunnel": tunnel, "instance": letter * 32, "epoch": 3, "peer": "198.51.100.7:51234"}
    state = {"since": time.time() - 4000, "streams": 2, "round_trip_ms": round_trip_ms}
    return {**names, **state, "upstreams": upstreams, "program": "tunnel-client"}


# People ------------------------------------------------------------------------------------------


async def test_a_session_is_found_and_cut_without_leaving_the_page(tmp_path: Path) -> None:
    async with a_console(tmp_path) as stage:
        await stage.admin.tunnel_create("office", "uma")
        for number in range(1000):
            await quick_session(stage, f"user{number}")
        await known(stage.admin, "wanted")
        await stage.admin.session_create("wanted", "bot", "office/git")

        def work() -> None:
            with browser() as seen:
                log_in(seen, stage)
                assert seen.script("document.cookie") == ""
                seen.follow("a[href='/sessions']")
                seen.find("#query")
                assert len(seen.all("#found tbody tr")) == 50
                seen.script("window.here = 1")
                seen.fill("#query", "wanted")
                seen.until("document.querySelectorAll('#found tbody tr').length === 1")
                assert seen.script("window.here") == 1
                seen.until("location.search.includes('wanted')")
                seen.follow("#found tbody a")
                seen.fill("[name=reason]", "laptop lost")
                seen.script("window.here = 2")
                field = "document.querySelector('[name=reason]')"
                seen.script(f"({field}.maxLength = 500, {field}.value = 'x'.repeat(201))")
                seen.click("#session button.bad")
                assert "1 to 200" in seen.text("[role=alert]")  # a refusal is seen too
                assert seen.script("document.querySelectorAll('#main').length") == 1
                seen.fill("[name=reason]", "laptop lost")
                seen.click("#session button.bad")
                result = "document.querySelector('#result').innerText"
                told = seen.until(f"{result}.includes('Revoked') && {result}")
                assert "cut 3 streams on 2 links in 12 ms" in told
                assert seen.script("window.here") == 2
                assert "laptop lost" in seen.text("#session")
                assert seen.all("#session form") == []
                assert seen.script("document.activeElement.tagName") == "H1"
                assert [each for each in seen.complaints() if "400" not in each] == []

        await drive(work)
        (ended,) = (await stage.admin.session_list(state="revoked"))["sessions"]
        assert ended["user"] == "wanted"


async def quick_session(stage: Stage, user: str) -> None:
    """Keep a session in memory alone: what is tested is the page."""
    known = stage.admin.directory.users["uma"]
    session = stage.admin.new_session(replace(known, key=user), "bot", ("office", "git"))
    stage.admin.sessions.put(session)


async def test_the_feed_goes_on_by_itself_until_the_role_is_gone(tmp_path: Path) -> None:
    """U16."""
    async with a_console(tmp_path) as stage:

        def watch() -> None:
            log_in(seen, stage, "otto")
            seen.open(stage.url + "/events")
            stage.events.add("2026-01-01T10:00:00Z", "info", "first_news", {"user": "uma"})
            seen.until("document.body.innerText.includes('first news')")

        with browser() as seen:
            await drive(watch)
            await stage.admin.user_change("otto", roles=["user"])
            stage.events.add("2026-01-01T10:00:01Z", "info", "second_news", {})
            await drive(lambda: seen.until("location.pathname === '/login'") and None)
            assert "second news" not in seen.text()


async def test_it_works_without_script(tmp_path: Path) -> None:
    async with a_console(tmp_path) as stage:
        await stage.admin.tunnel_create("office", "uma")
        await known(stage.admin, "wanted")
        await stage.admin.session_create("wanted", "bot", "office/git")

        def work() -> None:
            with browser(javascript=False) as seen:
                log_in(seen, stage)
                seen.follow("a[href='/sessions']")
                seen.fill("#query", "wanted")
                seen.follow("main form button")
                seen.follow("#found tbody a")
                seen.follow("#session button.bad")
                assert "cut 3 streams on 2 links in 12 ms" in seen.text("#result")
                seen.follow(".who button")
                seen.find("[name=password]")
                assert "Log in" in seen.text("h1")

        await drive(work)


async def test_it_is_used_by_keyboard_and_has_names_for_everything(tmp_path: Path) -> None:
    async with a_console(tmp_path) as stage:
        await furnish(stage)

        def work() -> None:
            with browser() as seen:
                log_in(seen, stage)
                for page in (*PAGES, "/tunnels/office", "/user?user=uma"):
                    seen.open(stage.url + page)
                    assert seen.script(NAMELESS) == [], page
                    assert seen.script("document.querySelectorAll('h1').length") == 1, page
                    shown = "[...document.querySelectorAll('[hidden]')].filter(e => e.offsetParent)"
                    assert seen.script(f"{shown}.length") == 0, page
                    assert seen.script("document.documentElement.lang") == "en"
                seen.open(stage.url + "/")
                seen.press_tab()
                assert seen.script("document.activeElement.className") == "skip"
                assert seen.script("document.activeElement.getBoundingClientRect().top") >= 0
                seen.press_tab()
                outline = "getComputedStyle(document.activeElement).outlineStyle"
                assert seen.script(outline) == "solid"
                # What is focused stays so when the page refreshes itself.
                seen.script("document.getElementById('tunnel-office').focus(), 1")
                seen.script("htmx.ajax('GET', '/live', '#live'), window.live = 1")
                seen.script("document.querySelector('#live').firstElementChild.id = 'old', 1")
                seen.until("!document.getElementById('old')")
                assert seen.script("document.activeElement.id") == "tunnel-office"

        await drive(work)


NAMELESS = """[...document.querySelectorAll("input, select, textarea")]
    .filter(e => e.type !== "hidden" && !e.hidden)
    .filter(e => !e.labels.length || !e.labels[0].textContent.trim()).map(e => e.outerHTML)
    .concat([...document.querySelectorAll("a, button, summary")]
        .filter(e => !(e.getAttribute("aria-label") || e.textContent).trim()).map(e => e.outerHTML))
    .concat([...document.querySelectorAll("table")].filter(e => !e.caption).map(e => e.outerHTML))
    .concat([...document.querySelectorAll("th:not([scope])")].map(e => e.outerHTML))"""


# Pictures ----------------------------------------------------------------------------------------


async def furnish(stage: Stage) -> str:
    """Make a relay with something on every page; returns a session."""
    admin = stage.admin
    for name, owner in (("office", "ada"), ("plant-7", "uma"), ("lab", "abe")):
        await admin.tunnel_create(name, owner)
    await admin.tunnel_disable("lab")
    office = link("office", "a", ["git", "tickets", "time"], 12.4)
    stage.links.live = [office, link("office", "b", ["git", "tickets"], 13.1)]
    for number in range(24):
        user = ("uma", "pia", "ada")[number % 3]
        agent = ("claude-code", "cursor", "vscode")[number % 3]
        server = ("office/git", "office/tickets", "plant-7/scada")[number % 3]
        made = await admin.session_create(user, agent, server, ttl=3600.0 * (1 + number % 5))
    which: str = made["session"]["id"]
    await admin.session_revoke(which, "laptop was lost")
    await admin.lock_add("user", "mallory", "left the company")
    await admin.lock_add("upstream", "office/tickets", "maintenance", 7200.0)
    await admin.agent_add("claude-code", ["http://localhost/callback"], "Claude Code")
    await admin.agent_add("in-house", ["https://agents.example.com/cb"], "In-house agent", True)
    await admin.user_token("ada", name="nightly report")
    events: tuple[tuple[str, str, dict[str, Any]], ...] = (
        ("info", "link up", {"tunnel": "office", "epoch": 3, "peer": "198.51.100.7"}),
        ("info", "session_created", {"user": "uma", "agent": "cursor", "by": "uma"}),
        ("warning", "console_login_refused", {"user": "ada"}),
        ("error", "instance_locked", {"code": "MT1031", "tunnel": "office"}),
        ("info", "session_revoked", {"cut": {"streams": 3, "links": 2, "ms": 12.0}}),
    )
    for second, (level, name, fields) in enumerate(events):
        stage.events.add(f"2026-11-28T09:30:0{second}Z", level, name, fields)
    return which


async def test_pictures_of_the_pages_are_kept(tmp_path: Path) -> None:
    """Light, dark and narrow; nothing on any of them is wider than the window."""
    async with a_console(tmp_path) as stage:
        which = await furnish(stage)
        live = (await stage.admin.session_list())["sessions"][0]["id"]
        pages = {
            **{page.strip("/").partition("?")[0] or "overview": page for page in PAGES},
            "tunnel": "/tunnels/office",
            "session": f"/sessions/{live}",
            "session-revoked": f"/sessions/{which}",
            "user": "/user?user=pia",
        }

        def work() -> None:
            with browser() as seen:
                seen.open(stage.url + "/login")
                seen.screenshot("console-login-light")
                log_in(seen, stage)
                for dark, width, look in (
                    (False, 1280, "light"),
                    (True, 1280, "dark"),
                    (False, 390, "narrow"),
                ):
                    seen.dark(dark)
                    seen.width(width)
                    for name, page in pages.items():
                        seen.open(stage.url + page)
                        overflow = "document.documentElement.scrollWidth - innerWidth"
                        assert seen.script(overflow) <= 0, (name, look)
                        assert seen.screenshot(f"console-{name}-{look}").stat().st_size > 5000
                seen.dark(True)
                seen.width(1280)
                background = "getComputedStyle(document.body).backgroundColor"
                seen.open(stage.url + "/")
                assert seen.script(background) == "rgb(20, 23, 26)"
                assert seen.complaints() == []

        await drive(work)
