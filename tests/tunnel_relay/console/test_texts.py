"""A long text on a page: never all at once, never on the loop's thread, and nothing of it lost."""

import html
import json
import re
import threading
from pathlib import Path
from typing import Any

import pytest

from shared.jsonrpc.canonical import canonical, exact
from tests.tunnel_relay.admin.test_approvals import people_beside
from tests.tunnel_relay.approvals.scene import PARAMS, needs, with_session
from tests.tunnel_relay.console.stage import Hand, Stage, a_console
from tests.tunnel_relay.console.test_tools import a_desk
from tests.tunnel_relay.test_tools import ONE, told, word
from tunnel_relay.approvals import shown
from tunnel_relay.console import tools, visit
from tunnel_relay.store.approvals import Approval
from tunnel_relay.web import pages as web

LINE = re.compile(r"<code>(.*)</code>(?:<span class=.note.> (.*)</span>)?</span>$", re.MULTILINE)
TAG = re.compile(r"</?mark[^>]*>")
TEXTS = {
    "many": list(range(12_000)),
    "mixed": {"wide": "a\u200b" * 9000, "list": [1] * 5000, "end": {"bcc": "eve"}},
}


async def asked_for(stage: Stage, arguments: Any, definition: str | None = None) -> Approval:
    await people_beside(stage.admin)
    office = await with_session(stage.admin)
    params = {"name": "send", "arguments": arguments}
    return await stage.admin.approvals.ask(office.session, "send", params, needs(), definition)


async def parts_at(hand: Hand, here: str, name: str) -> list[str]:
    """Load every part of a text that a page leads to."""
    first = (await hand.get(here)).text
    links = re.findall(rf'href="([^"]*[?;]{name}=\d+)#{name}"', first)
    return [first, *[(await hand.get(html.unescape(link))).text for link in links]]


def text_in(page: str, which: str) -> str:
    """Return what a page shows of a text, as it is without the marks of this page."""
    shown = page.partition(f'aria-label="{which}">')[2].partition("</pre>")[0]
    return html.unescape(TAG.sub("", "".join(found[0] for found in LINE.findall(shown))))


@pytest.mark.parametrize("arguments", TEXTS.values(), ids=TEXTS)
async def test_a_long_text_is_there_in_parts(tmp_path: Path, arguments: Any) -> None:
    async with a_console(tmp_path) as stage:
        asked = await asked_for(stage, arguments)
        pia, here = await stage.logged_in("pia"), f"/approvals/{asked.id}"
        pages = await parts_at(pia, here, "arguments")
        assert len(pages) > 2
        for number, page in enumerate(pages, 1):
            assert f"this is part {number} of {len(pages)}" in page
            assert "All of it is here" not in page
            assert "exactly what is shown above and in the other parts of it" in page
            assert page.count('class="line"') <= shown.PART
            assert page.count("<mark") <= shown.PART + shown.PART
        text = "".join(text_in(page, "Arguments") for page in pages)
        assert canonical(json.loads(text)) == canonical({"arguments": arguments})
        beyond = (await pia.get(f"{here}?arguments=99")).text
        assert f"this is part {len(pages)} of {len(pages)}" in beyond


async def test_the_same_in_one_line_comes_in_parts_too(tmp_path: Path) -> None:
    async with a_console(tmp_path) as stage:
        asked = await asked_for(stage, TEXTS["mixed"])
        pia = await stage.logged_in("pia")
        pages = await parts_at(pia, f"/approvals/{asked.id}", "raw")
        lines = [page.partition('<pre class="exact raw"><code>')[2] for page in pages]
        raw = html.unescape(TAG.sub("", "".join(each.partition("</code>")[0] for each in lines)))
        text = canonical({"arguments": TEXTS["mixed"]}).decode()
        assert raw == shown.visible(text)
        assert len(pages) > 2


async def test_a_page_of_ordinary_size_says_that_it_shows_all(tmp_path: Path) -> None:
    async with a_console(tmp_path) as stage:
        asked = await asked_for(stage, PARAMS["arguments"])
        pia = await stage.logged_in("pia")
        page = (await pia.get(f"/approvals/{asked.id}")).text
        assert "lines. All of it is here.</p>" in page
        assert "with exactly what is shown above, until" in page
        assert "#arguments" not in page


async def test_a_text_is_laid_out_once_and_beside_the_loop(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The loop carries every tunnel; to look at an approval holds none of them up."""
    async with a_console(tmp_path) as stage:
        asked = await asked_for(stage, TEXTS["many"], '{"name":"send"}')
        pia, seen = await stage.logged_in("pia"), []
        here = threading.get_ident()

        def watched(name: str, work: Any) -> Any:
            def done(*given: Any, **more: Any) -> Any:
                seen.append((name, threading.get_ident() == here))
                return work(*given, **more)

            return done

        monkeypatch.setattr(shown, "exact", watched("read", exact))
        monkeypatch.setattr(shown, "parts", watched("cut", shown.parts))
        monkeypatch.setattr(visit, "page", watched("rendered", web.page))
        assert (await pia.get(f"/approvals/{asked.id}")).status_code == 200
        done = ["read", "cut", "cut", "read", "cut", "rendered"]
        assert seen == [(name, False) for name in done]


async def test_a_definition_comes_in_parts_and_a_list_of_them_has_an_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tools, "MAX_LINES", 25)
    async with a_console(tmp_path) as stage:
        long = json.dumps({"a": [0] * 9000}, separators=(",", ":"))
        short = json.dumps({"a": [0] * 6}, separators=(",", ":"))
        words = [word(f"t{number}", definition=short) for number in range(4)]
        await a_desk(stage, told(ONE, word("long", definition=long), *words))
        otto, here = await stage.logged_in("otto"), "/tunnels/office/tools/git"
        listed = (await otto.get(here)).text
        assert listed.count('aria-label="Definition"') == 2
        assert listed.count(f"{len(short)} characters</a>") == 2
        pages = await parts_at(otto, f"{here}/tool?name=long", "definition1")
        assert len(pages) == 3
        assert "".join(text_in(page, "Definition") for page in pages).count("0,") == 8999
