"""Attacks on the console, in a real Chromium: names stay text, other pages get nowhere."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import quote

import pytest

from tests.helpers.browser import Browser, browser
from tests.system.test_console import PAGES, drive, link, log_in
from tests.tunnel_relay.console.stage import Stage, a_console

pytestmark = pytest.mark.system

PAYLOADS = (
    "<script>pwned(1)</script>",
    "<img src=x onerror=pwned(2)>",
    "<svg/onload=pwned(3)>",
    '"><script>pwned(4)</script>',
    "'><img src=x onerror=pwned(5)>",
    '" autofocus onfocus=pwned(6) x="',
    "' onmouseover='pwned(7)",
    "</title><script>pwned(8)</script>",
    "</textarea><script>pwned(9)</script>",
    "</option></select><img src=x onerror=pwned(10)>",
    "<iframe srcdoc='<script>parent.pwned(11)</script>'></iframe>",
    "<a href=javascript:pwned(12)>click</a>",
    "javascript:pwned(13)",
    "data:text/html,<script>pwned(14)</script>",
    "![x](http://127.0.0.1:9/beacon.png)",
    "<img src=http://127.0.0.1:9/beacon.png>",
    "<div hx-get='/logout' hx-trigger='load'></div>",
    '" hx-on:load="pwned(18)" hx-vals=\'js:pwned(18)\'',
    "{{ pwned(19) }}{% print 19 %}${pwned(19)}",
    "<base href=http://127.0.0.1:9/><form action=http://127.0.0.1:9/><button>",
    "<style>*{background:url(http://127.0.0.1:9/beacon.png)}</style>",
    "<meta http-equiv=refresh content='0;url=http://127.0.0.1:9/'>",
)


# Hostile names -----------------------------------------------------------------------------------


async def furnish_hostile(stage: Stage) -> list[str]:
    """Put every payload wherever a person or an agent can put text; returns pages to look at."""
    admin = stage.admin
    pages = list(PAGES)
    for number, payload in enumerate(PAYLOADS):
        await admin.user_add(payload, name=payload, groups=[payload], roles=["auditor"])
        await admin.user_token(payload, name=payload)
        await admin.tunnel_create(f"t{number}", payload)
        made = await admin.session_create(payload, payload, f"t{number}/up")
        if number % 2:
            await admin.session_revoke(made["session"]["id"], payload)
        await admin.agent_add(f"a{number}", ["https://a.example/cb"], payload)
        await admin.lock_add("agent", f"{payload} x", payload)
        peer = link(f"t{number}", f"{number % 10}", ["up"], 1.0) | {"peer": payload}
        stage.links.live.append(peer)
        stage.events.add(payload, "info", payload, {payload: payload})
        pages += [f"/user?user={quote(payload, safe='')}", f"/tunnels/t{number}"]
        pages += [f"/sessions/{made['session']['id']}", f"/sessions?query={quote(payload)}"]
        pages += [f"/users?query={quote(payload)}&page={quote(payload)}"]
    return pages


TRAP = "window.pwned = n => { window.caught = n; alert(n) }"
LOOK = """[
    window.caught || null,
    document.querySelectorAll("script:not([src$='/static/htmx.min.js'])").length,
    document.querySelectorAll("iframe, object, embed, base, style, main img, main svg").length,
    [...document.querySelectorAll("a[href]")].filter(a => a.origin !== location.origin).length,
    [...document.querySelectorAll("form")].filter(
        f => new URL(f.getAttribute("action"), location).origin !== location.origin).length,
    [...document.querySelectorAll("[hx-get], [hx-post]")].filter(
        e => (e.getAttribute("hx-get") || e.getAttribute("hx-post")) === "/logout").length,
    [...document.querySelectorAll("*")].filter(
        e => [...e.attributes].some(a => a.name.startsWith("on") || a.name.startsWith("hx-on"))
    ).length,
]"""


SAMPLE = json.dumps(
    "<main><img src=x onerror=pwned(0)></main><iframe></iframe><a href='javascript:pwned(0)'>x</a>"
    "<a href='http://127.0.0.1:9/'>x</a><div hx-get='/logout'></div>"
)


async def test_whatever_people_call_things_is_text(tmp_path: Path) -> None:
    """U02, U03: 22 payloads in names, reasons, owners and events, on every page that shows them."""
    async with a_console(tmp_path) as stage:
        pages = await furnish_hostile(stage)

        def work() -> None:
            with browser() as seen:
                script = {"source": TRAP}
                seen.driver.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", script)
                log_in(seen, stage)
                seen.complaints()
                for page in pages:
                    seen.open(stage.url + page)
                    assert seen.dialog() is None, page
                    assert seen.script(LOOK) == [None, 0, 0, 0, 0, 0, 0], page
                    assert seen.script("location.origin") == stage.url, page
                assert_texts(seen, stage)
                # What htmx puts into a page is text too.
                seen.open(stage.url + "/sessions?state=all")
                seen.fill("#query", "<script>")
                seen.until("document.querySelectorAll('#found tbody tr').length < 10")
                assert seen.script(LOOK) == [None, 0, 0, 0, 0, 0, 0]
                which = seen.find("#found tbody a").get_attribute("href")
                seen.open(str(which))
                if seen.all("[name=reason]"):
                    seen.fill("[name=reason]", PAYLOADS[1])
                    seen.click("#session button.bad")
                    seen.until("document.querySelector('#result').innerText.includes('Revoked')")
                    assert PAYLOADS[1] in seen.text("#session")
                assert seen.script(LOOK) == [None, 0, 0, 0, 0, 0, 0]
                assert seen.dialog() is None
                assert [each for each in seen.complaints() if "400" not in each] == []
                # Had any of it been markup, this would have been seen.
                seen.script(f"document.body.insertAdjacentHTML('beforeend', {SAMPLE}), 1")
                assert seen.script(LOOK) == [None, 0, 2, 2, 0, 1, 1]

        await drive(work)


def assert_texts(seen: Browser, stage: Stage) -> None:
    """Every payload can be read as it was written."""
    seen.open(stage.url + "/users")
    shown = seen.text("table")
    assert [each for each in PAYLOADS if each not in shown] == []
    seen.open(stage.url + "/events")
    shown = seen.text("#feed")
    # Underscores of event names are shown as blanks; none of the payloads has one.
    assert [each for each in PAYLOADS if each not in shown] == []


# Other pages -------------------------------------------------------------------------------------


@contextmanager
def other_site(page: str) -> Iterator[str]:
    """Serve one page on another port of loopback: the same site, but not the same origin."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.end_headers()
            self.wfile.write(page.encode())

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


async def test_another_page_changes_and_frames_nothing(tmp_path: Path) -> None:
    """U01, U09: from another port of loopback, where the browser sends the cookie along."""
    async with a_console(tmp_path) as stage:
        login = await stage.logged_in("ada")
        evil = f"""<form id=f method=post action="{stage.url}/tunnels/create">
            <input name=name value=evil><input name=owner value=ada>
            <input name=csrf value="{login.csrf}"></form>
            <iframe id=i src="{stage.url}/"></iframe>
            <a id=a href="{stage.url}/users">a link</a>"""

        def work() -> None:
            with browser() as seen, other_site(evil) as elsewhere:
                log_in(seen, stage)
                mine = next(iter(stage.app.logins._by_digest.values()))
                seen.open(elsewhere)
                seen.until("document.readyState === 'complete'")
                framed = seen.script("document.getElementById('i').contentDocument === null")
                assert framed
                assert any(
                    "frame-ancestors" in each or "X-Frame" in each for each in complaints(seen)
                )
                stolen = f"""fetch("{stage.url}/events/after/0", {{credentials: "include"}})
                    .then(r => r.text()).then(t => window.got = t, e => window.got = "refused")"""
                seen.script(f"({stolen}, 1)")
                assert seen.until("window.got") == "refused"
                seen.script("document.getElementById('f').submit(), 1")
                seen.until("document.body.innerText.includes('MT1058')")
                seen.open(elsewhere)
                seen.follow("#a")  # a link is followed, and only shows
                assert seen.find("h1").text in ("Users", "Log in to the console")
                assert mine.user == "ada"

        await drive(work)
        assert stage.admin.tunnels == {}


def complaints(seen: Browser) -> list[str]:
    return [each for each in seen.complaints() if "favicon" not in each]
