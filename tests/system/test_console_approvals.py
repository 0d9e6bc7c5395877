"""Approvals in a real Chromium: nothing is hidden, and a person gets through by keyboard.

Keeps pictures in `tests/system/out/`.
"""

import json
from pathlib import Path

import pytest

from tests.helpers.browser import Browser, browser
from tests.system.test_console import drive, log_in
from tests.system.test_console_attacks import LOOK, PAYLOADS, TRAP
from tests.tunnel_relay.admin.test_approvals import people_beside
from tests.tunnel_relay.approvals.scene import needs, with_session
from tests.tunnel_relay.console.stage import PASSWORD, a_console
from tunnel_relay.admin.logins import FRESH
from tunnel_relay.store.approvals import State

pytestmark = pytest.mark.system

DECEPTIVE = "\u202emoc.elpmaxe@eve\u202c \u200b\u2066x\u2069 p\u0430ypal"
ARGUMENTS = {
    **{f"field{number:03}": f"value {number}" for number in range(500)},
    "bcc": "eve@example.com",
    "body": "A long letter. " * 400 + "AND-ITS-END",
    "to": DECEPTIVE,
    "html": list(PAYLOADS),
    'key"><img src=x onerror=pwned(99)>': {"nested": [1, [2, [3, None, True]]]},
    "empty": ["", [], {}],
}
DEFINITION = json.dumps(
    {"description": f"Sends mail{PAYLOADS[0]}\u202e", "name": "send"},
    sort_keys=True,
    separators=(",", ":"),
    ensure_ascii=False,
)


def visible_text(seen: Browser) -> str:
    """Return what of the arguments is laid out on the page, hidden by nothing."""
    assert seen.script(
        """[...document.querySelectorAll("pre.exact:not(.raw) .line")].every(line => {
            const box = line.getBoundingClientRect();
            const look = getComputedStyle(line);
            return box.height > 0 && box.right <= innerWidth && look.visibility === "visible";
        })"""
    )
    return str(seen.script("document.querySelector('pre.exact').innerText"))


async def test_deceptive_arguments_are_shown_whole_and_as_text(tmp_path: Path) -> None:
    """P28: bidi, HTML, 500 fields with a `bcc` among them, a text with an end, all at once."""
    async with a_console(tmp_path) as stage:
        await people_beside(stage.admin)
        office = await with_session(stage.admin)
        desk = stage.admin.approvals
        params = {"arguments": ARGUMENTS}
        asked = await desk.ask(
            office.session, "send\u202e<b>", params, needs(rule="a rule"), DEFINITION
        )

        def work() -> None:
            with browser() as seen:
                script = {"source": TRAP}
                seen.driver.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", script)
                log_in(seen, stage, "pia")
                for width in (1280, 390):
                    seen.width(width)
                    seen.open(f"{stage.url}/approvals/{asked.id}")
                    overflow = "document.documentElement.scrollWidth - innerWidth"
                    assert seen.script(overflow) <= 0
                    shown = visible_text(seen)
                    assert '"bcc": "eve@example.com",' in shown
                    assert 'AND-ITS-END",' in shown
                    assert "\\u202emoc.elpmaxe@eve\\u202c \\u200b\\u2066x\\u2069" in shown
                    assert "letters of more than one alphabet" in shown
                    assert not {"\u202e", "\u200b", "\u2066"} & set(shown)
                    missing = [each for each in PAYLOADS if json.dumps(each) not in shown]
                    assert missing == []
                    assert all(f'"field{number:03}": "value {number}"' in shown
                               for number in range(500))  # fmt: skip
                    assert "507 members" not in shown
                    assert f"{len(ARGUMENTS)} members" in shown
                    assert "6011 characters" in shown
                    assert seen.script(LOOK) == [None, 0, 0, 0, 0, 0, 0]
                    assert seen.dialog() is None
                    look = "wide" if width == 1280 else "narrow"
                    seen.screenshot(f"console-approval-deceptive-{look}")
                assert seen.find("h1").text.startswith("send\\u202e<b>")
                assert [each for each in seen.complaints() if "400" not in each] == []

        await drive(work)


async def test_a_person_approves_by_keyboard_after_showing_who_they_are(tmp_path: Path) -> None:
    """U17: the login is old by then; and the number beside the link keeps itself up to date."""
    async with a_console(tmp_path) as stage:
        await people_beside(stage.admin)
        office = await with_session(stage.admin)
        clock = stage.admin.clock
        first = await office.ask()

        def work() -> None:
            with browser() as seen:
                log_in(seen, stage, "pia")
                assert seen.text("#waiting").startswith("1")
                assert seen.find("h1").text == "Approvals"
                stage.admin.clock = lambda: clock() + FRESH
                seen.follow(f"#approval-{first.id}")
                seen.screenshot("console-approval-light")
                seen.find("#approve [name=password]").send_keys(PASSWORD)
                for _ in range(2):
                    seen.press_tab()
                assert seen.script("document.activeElement.innerText") == "Approve this call"
                before = seen.find("html").id
                seen.script("document.activeElement.click(), 1")
                seen.until("document.body.innerText.includes('Approved. The agent may repeat')")
                assert seen.find("html").id != before
                assert not seen.all("#approve")
                seen.open(stage.url + "/approvals")
                seen.screenshot("console-approvals-light")

        await drive(work)
        known = stage.admin.approvals.requests.get(first.id)
        assert known is not None
        assert known.state is State.APPROVED


async def test_a_new_request_appears_by_itself(tmp_path: Path) -> None:
    async with a_console(tmp_path) as stage:
        await people_beside(stage.admin)
        office = await with_session(stage.admin)

        def before() -> None:
            log_in(seen, stage, "pia")
            assert "Nothing was asked for" in seen.text("#live")

        def after() -> None:
            seen.until("document.querySelector('#live').innerText.includes('send')")
            seen.until("document.querySelector('#waiting').innerText.startsWith('1')")
            seen.follow("#live tbody a")
            assert "send" in seen.text("h1")

        with browser() as seen:
            await drive(before)
            await office.ask()
            await drive(after)
