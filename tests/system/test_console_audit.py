"""Pages of the log in a real Chromium: a call is found and followed, what agents wrote stays text.

Keeps pictures, light, dark and narrow, in `tests/system/out/`.
"""

from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from tests.helpers.browser import Browser, browser
from tests.system.test_console import NAMELESS, drive, log_in
from tests.system.test_console_attacks import LOOK, PAYLOADS, TRAP
from tests.tunnel_relay.admin.test_audit import SESSION, WHAT, WHO, WHY, log_of
from tests.tunnel_relay.console.stage import Stage, a_console

pytestmark = pytest.mark.system


def furnish(stage: Stage) -> None:
    """Write a session's calls down, one of them approved, one refused, then what is hostile."""
    log = log_of(stage)
    log.add("session.made", {"session": SESSION, "user": "uma", "by": "ada"})
    for number in range(60):
        facts: dict[str, Any] = {"who": WHO, "what": WHAT, "why": WHY}
        if number == 58:
            facts["approval"] = {"id": "c" * 32, "approvers": ["pia"], "arguments": "d" * 64}
        seq = log.add("call.intent", {"call": f"l.{number}", "body": "b" * 64, **facts})
        ended = {"intent": seq, "delivery": "done", "us": 1500 + number, "status": 200}
        result = "tool_error" if number % 7 == 3 else "ok"
        log.add("call.completion", {"call": f"l.{number}", "result": result, **ended})
    refused = {"call": "l.99", "reason": "denied by policy", "who": WHO, "what": WHAT}
    log.add("call.refused", {**refused, "why": {**WHY, "decision": "deny"}})
    for number, text in enumerate(PAYLOADS):
        who = {"agent": text, "claimed": text, "session": f"{number:032}", "user": text}
        what = {"server": text, "name": text, "class": text}
        facts = {"who": who, "what": what, "why": {"decision": text, "rule": text}}
        log.add("call.refused", {"call": text, "reason": text, "source": text, **facts})


def look(seen: Browser, stage: Stage) -> None:
    """Find a call, see all of it, and the session it belongs to."""
    seen.follow("a[href='/audit']")
    seen.fill("[name=tool]", "send")
    seen.fill("[name=decision]", "deny")
    seen.follow("form[role=search] button")
    assert len(seen.all("tbody tr")) == 1
    seen.follow("tbody th a")
    assert "denied by policy" in seen.text("pre")
    assert "is written down" in seen.text("main")
    seen.follow("dl a[href^='/audit/sessions/']")
    assert "62 steps" in seen.text("caption")
    assert "approval" in seen.text("main").lower()
    assert "pia" in seen.text("tbody")
    seen.follow(".crumb a")
    seen.follow("a[rel=next]")
    assert len(seen.all("tbody tr")) == 50
    seen.follow("a[rel=prev]")
    seen.follow("form[action='/audit/verify'] button")
    assert "are what was written" in seen.text("main")


async def test_a_call_is_found_and_its_session_followed(tmp_path: Path) -> None:
    """With what agents wrote on every page (U02), and without a script of ours."""
    async with a_console(tmp_path) as stage:
        furnish(stage)
        last = log_of(stage).size - 1
        pages = ["/audit", *(f"/audit/records/{last - number}" for number in range(0, 22, 7))]
        pages += [f"/audit?user={quote(each)}" for each in PAYLOADS[::5]]
        pages += [f"/audit/sessions/{number:032}" for number in range(0, 22, 5)]

        def work() -> None:
            with browser() as seen:
                script = {"source": TRAP}
                seen.driver.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", script)
                log_in(seen, stage, "otto")
                look(seen, stage)
                for page in pages:
                    seen.open(stage.url + page)
                    assert seen.dialog() is None, page
                    assert seen.script(LOOK) == [None, 0, 0, 0, 0, 0, 0], page
                assert seen.complaints() == []

        await drive(work)


async def test_pictures_are_kept_and_everything_has_a_name(tmp_path: Path) -> None:
    """Light, dark and narrow; nothing is wider than the window."""
    async with a_console(tmp_path) as stage:
        furnish(stage)
        pages = {
            "audit": "/audit?user=uma",
            "audit-record": "/audit/records/2",
            "audit-session": f"/audit/sessions/{SESSION}",
        }

        def work() -> None:
            with browser() as seen:
                log_in(seen, stage, "otto")
                looks = ((False, 1280, "light"), (True, 1280, "dark"), (False, 390, "narrow"))
                for dark, width, name in looks:
                    seen.dark(dark)
                    seen.width(width)
                    for page, where in pages.items():
                        seen.open(stage.url + where)
                        assert seen.script(NAMELESS) == [], page
                        assert seen.script("document.querySelectorAll('h1').length") == 1, page
                        overflow = "document.documentElement.scrollWidth - innerWidth"
                        assert seen.script(overflow) <= 0, (page, name)
                        assert seen.screenshot(f"console-{page}-{name}").stat().st_size > 5000
                assert seen.complaints() == []

        await drive(work)
