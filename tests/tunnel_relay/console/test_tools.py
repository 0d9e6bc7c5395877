"""Pages of tools, used as a browser without script uses them."""

from pathlib import Path
from typing import Any

from shared.policy.classes import ToolClass
from shared.wire.tools import PinState
from tests.tunnel_relay.console.stage import Stage, a_console
from tests.tunnel_relay.console.test_pages import link
from tests.tunnel_relay.test_tools import ONE, TWO, told, word

HTMX = {"HX-Request": "true"}


async def a_desk(stage: Stage, *offered: Any) -> None:
    """Make a tunnel whose clients say this of the tools of office/git."""
    await stage.admin.tunnel_create("office", "uma")
    stage.links.live = [link("office", ["git"])]
    stage.links.offered = list(offered)


async def test_a_server_of_5000_tools_is_shown_in_pages(tmp_path: Path) -> None:
    async with a_console(tmp_path) as stage:
        await a_desk(stage, told(ONE, *(word(f"tool_{number:04}") for number in range(5000))))
        hand = await stage.logged_in("otto")
        tunnel = (await hand.get("/tunnels/office")).text
        assert 'href="/tunnels/office/tools/git"' in tunnel
        assert "5000 pinned, 0 new" in tunnel
        first = (await hand.get("/tunnels/office/tools/git")).text
        assert "5000 tools, page 1 of 100" in first
        assert first.count("<tr>") == 51
        assert "tool_0049" in first
        assert "tool_0050" not in first
        for page in ("100", "9999", "99999"):
            last = (await hand.get(f"/tunnels/office/tools/git?page={page}")).text
            assert "tool_4999" in last
            assert 'rel="next"' not in last
        found = await hand.get("/tunnels/office/tools/git?query=TOOL_4321", **HTMX)
        assert found.text.count("<tr>") == 2
        assert "<html" not in found.text
        assert "1 tool with" in found.text


async def test_what_changed_and_what_differs_is_loud(tmp_path: Path) -> None:
    async with a_console(tmp_path) as stage:
        changed = word("look", state=PinState.CHANGED, sha256="f" * 64)
        new = word("fresh", None, state=PinState.NEW, definition="")
        put = word("put", ToolClass.WRITE)
        await a_desk(stage, told(ONE, changed, new, put), told(TWO, changed, new))
        hand = await stage.logged_in("otto")
        shown = (await hand.get("/tunnels/office/tools/git")).text
        assert "1 tool changed since it was pinned" in shown
        assert "tunnel-client tool diff git" in shown
        assert "do not say the same of 1 tool" in shown
        assert "knows no such tool" in shown
        assert "as pinned; the server lists another now" in shown
        assert "nothing was pinned" in shown
        only = (await hand.get("/tunnels/office/tools/git?state=changed")).text
        assert only.count("<tr>") == 2
        assert "1 changed" in (await hand.get("/")).text
        one = (await hand.get("/tunnels/office/tools/git/tool?name=look")).text
        assert "Agents cannot use it until somebody pins it again" in one
        assert "As it was pinned; the server lists another one now" in one
        fresh = (await hand.get("/tunnels/office/tools/git/tool?name=fresh")).text
        assert "tunnel-client tool pin git" in fresh
        assert "The definition is not known here" in fresh


async def test_a_long_definition_has_a_page_of_its_own(tmp_path: Path) -> None:
    async with a_console(tmp_path) as stage:
        text = '{"description":"' + "x" * 20_000 + '\u200b"}'
        await a_desk(stage, told(ONE, word("look", definition=text)))
        hand = await stage.logged_in("otto")
        listed = (await hand.get("/tunnels/office/tools/git")).text
        assert "x" * 1000 not in listed
        assert "hidden characters" in listed
        whole = (await hand.get("/tunnels/office/tools/git/tool?name=look")).text
        assert "x" * 20_000 in whole
        assert "1 characters that cannot be seen" in whole


async def test_without_a_client_or_a_right_there_is_nothing_to_see(tmp_path: Path) -> None:
    async with a_console(tmp_path) as stage:
        await a_desk(stage)
        hand = await stage.logged_in("otto")
        empty = await hand.get("/tunnels/office/tools/git")
        assert "No client that offers office/git is connected now" in empty.text
        assert (await hand.get("/tunnels/office/tools/git/tool?name=look")).status_code == 404
        assert (await hand.get("/tunnels/none/tools/git")).status_code == 404
        assert (await hand.get("/tunnels/office/tools/git?state=odd")).status_code == 400
        approver = await stage.logged_in("pia")
        assert (await approver.get("/tunnels/office/tools/git")).status_code == 403
        assert (await stage.nobody().get("/tunnels/office/tools/git")).status_code == 303
