"""Pages of tools in a real Chromium: what servers call their tools stays text, people get on.

Keeps pictures, light and dark, in `tests/system/out/`.
"""

import json
from pathlib import Path
from urllib.parse import quote

import pytest
from selenium.webdriver.common.keys import Keys

from shared.policy.classes import IN_ORDER, ToolClass
from shared.policy.keeping import PolicyFile
from shared.wire.tools import PinState
from tests.helpers.browser import browser
from tests.system.test_console import NAMELESS, drive, link, log_in
from tests.system.test_console_attacks import LOOK, PAYLOADS, TRAP
from tests.tunnel_relay.console.stage import Stage, a_console
from tests.tunnel_relay.console.test_permissions import TEXT
from tests.tunnel_relay.test_tools import ONE, TWO, told, word

pytestmark = pytest.mark.system

WHERE = "/tunnels/office/tools/git"


def definition(name: str, about: str) -> str:
    schema = {"properties": {"id": {"description": about, "type": "string"}}, "type": "object"}
    value = {"description": about, "inputSchema": schema, "name": name}
    return json.dumps(value, ensure_ascii=False)


async def furnish(stage: Stage) -> None:
    """Make a server with 5,000 tools: some are new, one changed, two clients differ in one."""
    await stage.admin.tunnel_create("office", "ada")
    stage.links.live = [link("office", "a", ["git"], 12.4), link("office", "b", ["git"], 13.0)]
    tools = []
    for number in range(5000):
        name = f"tool_{number:04}"
        about = f"Does thing {number}.\nThen it says so."
        text = definition(name, about)
        kind = IN_ORDER[number % len(IN_ORDER)]
        tools.append(word(name, kind, title=f"Thing {number}", definition=text))
    tools[3] = word("tool_0003", state=PinState.CHANGED, sha256="c" * 64)
    tools[4] = word("tool_0004", None, state=PinState.NEW, definition="")
    tools[7] = word("tool_0007", definition=definition("tool_0007", "Ask\u200b \u202efor it"))
    other = [*tools[:5], word("tool_0005", ToolClass.ADMIN), *tools[6:]]
    stage.links.offered = [told(ONE, *tools), told(TWO, *other)]
    stage.admin.policy = PolicyFile("p", lambda: TEXT, lambda: None)
    await stage.admin.user_change("pia", groups=["ops"], servers=["office/git"])
    await stage.admin.session_create("pia", "claude-code", "office/git", classes=["read", "draft"])


async def test_a_tool_is_found_among_5000_and_looked_at(tmp_path: Path) -> None:
    async with a_console(tmp_path) as stage:
        await furnish(stage)

        def work() -> None:
            with browser() as seen:
                log_in(seen, stage, "otto")
                seen.open(stage.url + "/tunnels/office")
                seen.follow("dl a")
                assert seen.script("location.pathname") == WHERE
                assert len(seen.all("#found tbody tr")) == 50
                assert "1 tool changed since it was pinned" in seen.text("main")
                assert "do not say the same of 1 tool" in seen.text("main")
                seen.script("window.here = 1")
                seen.fill("#query", "tool_4321")
                seen.until("document.querySelectorAll('#found tbody tr').length === 1")
                assert seen.text("#count") == "1 tool with “tool_4321”"
                assert seen.script("window.here") == 1
                seen.until("location.search.includes('tool_4321')")
                # The definition opens by the keyboard, and without a script of ours.
                assert not seen.script("document.querySelector('#found details').open")
                seen.find("#found summary").send_keys(Keys.ENTER)
                assert "Does thing 4321.\\nThen it says so." in seen.text("#found pre")
                seen.follow("#found th a")
                assert "Does thing 4321" in seen.text("pre")
                seen.follow(".crumb a")
                seen.follow("main .told a")
                assert seen.text("#found tbody th").startswith("tool_0003")
                seen.open(stage.url + WHERE)
                seen.follow("a[rel=next]")
                assert "page 2 of 100" in seen.text("#count")
                assert seen.complaints() == []

        await drive(work)


async def test_it_works_without_script(tmp_path: Path) -> None:
    async with a_console(tmp_path) as stage:
        await furnish(stage)

        def work() -> None:
            with browser(javascript=False) as seen:
                log_in(seen, stage, "otto")
                seen.open(stage.url + WHERE)
                seen.fill("#query", "tool_0007")
                seen.follow("main form button")
                assert len(seen.all("#found tbody tr")) == 1
                assert "hidden characters" in seen.text("#found")
                seen.click("#found summary")
                shown = seen.text("#found pre")
                assert "\\u200b" in shown
                assert "\\u202e" in shown

        await drive(work)


async def test_whatever_servers_call_their_tools_is_text(tmp_path: Path) -> None:
    """U02: 22 payloads in names, titles and definitions of tools, on every page that shows them."""
    async with a_console(tmp_path) as stage:
        await furnish(stage)
        evil = [word(each, title=each, definition=definition(each, each)) for each in PAYLOADS]
        changed = word("odd", title=PAYLOADS[0], state=PinState.CHANGED, definition=PAYLOADS[1])
        stage.links.offered = [told(ONE, *evil, changed), told(TWO, *evil)]
        pages = [WHERE, f"{WHERE}?state=changed", "/tunnels/office", "/"]
        pages.append("/user/could?user=pia&agent=claude-code")
        for each in PAYLOADS:
            pages += [f"{WHERE}/tool?name={quote(each, safe='')}", f"{WHERE}?query={quote(each)}"]
            pages.append(f"/user/could?user=pia&agent={quote(each)}&query={quote(each)}")

        def work() -> None:
            with browser() as seen:
                script = {"source": TRAP}
                seen.driver.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", script)
                log_in(seen, stage)
                for page in pages:
                    seen.open(stage.url + page)
                    if seen.all("details"):
                        opened = "document.querySelectorAll('details').forEach(e => e.open = true)"
                        seen.script(f"({opened}, 1)")
                    assert seen.dialog() is None, page
                    assert seen.script(LOOK) == [None, 0, 0, 0, 0, 0, 0], page
                    assert seen.script("location.origin") == stage.url, page
                seen.open(stage.url + WHERE)
                shown = seen.text("#found")
                assert [each for each in PAYLOADS if each not in shown] == []
                seen.fill("#query", "<script>")
                seen.until("document.querySelectorAll('#found tbody tr').length < 10")
                assert seen.script(LOOK) == [None, 0, 0, 0, 0, 0, 0]
                assert seen.dialog() is None
                assert seen.complaints() == []

        await drive(work)


async def test_pictures_are_kept_and_everything_has_a_name(tmp_path: Path) -> None:
    """Light, dark and narrow; nothing is wider than the window."""
    async with a_console(tmp_path) as stage:
        await furnish(stage)
        pages = {
            "tools": WHERE,
            "tools-found": f"{WHERE}?query=tool_000",
            "tool": f"{WHERE}/tool?name=tool_0007",
            "tool-changed": f"{WHERE}/tool?name=tool_0003",
            "could": "/user/could?user=pia&agent=claude-code&query=tool_000",
        }

        def work() -> None:
            with browser() as seen:
                log_in(seen, stage)
                looks = ((False, 1280, "light"), (True, 1280, "dark"), (False, 390, "narrow"))
                for dark, width, look in looks:
                    seen.dark(dark)
                    seen.width(width)
                    for name, page in pages.items():
                        seen.open(stage.url + page)
                        assert seen.script(NAMELESS) == [], page
                        assert seen.script("document.querySelectorAll('h1').length") == 1, page
                        if name == "tools-found":
                            seen.script("document.querySelector('details').open = true, 1")
                        overflow = "document.documentElement.scrollWidth - innerWidth"
                        assert seen.script(overflow) <= 0, (name, look)
                        assert seen.screenshot(f"console-{name}-{look}").stat().st_size > 5000
                assert seen.complaints() == []

        await drive(work)
