from pathlib import Path

from shared.policy.classes import IN_ORDER, ToolClass
from shared.wire.tools import PinState
from tests.tunnel_relay.identity.authorization import Scene, a_server, code_form, refresh_form
from tests.tunnel_relay.making import RecordedLinks
from tests.tunnel_relay.test_tools import ONE, word
from tunnel_relay.identity import scopes
from tunnel_relay.identity.resources import SCOPES
from tunnel_relay.tools import Told


def test_a_request_that_names_no_class_asks_for_all_but_emergencies() -> None:
    everyday = tuple(IN_ORDER[:-1])
    assert scopes.asked(None) == scopes.asked("") == scopes.asked("mcp") == everyday
    assert scopes.asked("openid mcp profile") == everyday


def test_named_classes_are_asked_for_and_no_others() -> None:
    assert scopes.asked("mcp mcp:write mcp:read") == (ToolClass.READ, ToolClass.WRITE)
    assert scopes.asked("mcp:break_glass") == (ToolClass.BREAK_GLASS,)


def test_a_scope_that_only_looks_like_one_is_passed_over() -> None:
    assert scopes.asked("mcp:READ mcp:read2 xmcp:read mcp:admin") == (ToolClass.ADMIN,)


def test_what_was_granted_is_said_in_scopes() -> None:
    assert scopes.granted(["write", "read"]) == "mcp mcp:read mcp:write"
    assert scopes.granted([]) == "mcp " + " ".join(map(scopes.scope_of, IN_ORDER))


def test_ticked_boxes_are_classes() -> None:
    fields = {"class_read": "on", "class_admin": "", "class_root": "on", "decision": "allow"}
    assert scopes.chosen(fields) == (ToolClass.READ, ToolClass.ADMIN)
    assert scopes.chosen({}) == ()


def test_every_class_has_a_meaning_for_people() -> None:
    assert set(scopes.MEANING) == set(IN_ORDER)


def test_emergencies_are_not_advertised() -> None:
    assert "mcp:break_glass" not in SCOPES
    assert SCOPES[0] == "mcp"


async def test_a_user_consents_to_less_than_was_asked_for(tmp_path: Path) -> None:
    async with a_server(tmp_path) as scene:
        browser = await scene.browser()
        await browser.open(scene.authorize(scope="mcp mcp:read mcp:write mcp:admin"))
        await browser.log_in("bob")
        await browser.submit("allow", untick=["class_admin"])
        tokens = (await scene.trade(code_form(browser.brought["code"]))).json()
        assert tokens["scope"] == "mcp mcp:read mcp:write"
        (session,) = scene.live()
        assert session.classes == ("read", "write")
        renewed = (await scene.trade(refresh_form(tokens))).json()
        assert renewed["scope"] == "mcp mcp:read mcp:write"


async def test_a_user_may_tick_what_was_not_asked_for(tmp_path: Path) -> None:
    async with a_server(tmp_path) as scene:
        browser = await scene.browser()
        await browser.open(scene.authorize(scope="mcp:read"))
        await browser.log_in("bob")
        await browser.submit("allow", class_draft="on")
        await scene.trade(code_form(browser.brought["code"]))
        (session,) = scene.live()
        assert session.classes == ("read", "draft")


async def test_consent_to_nothing_is_a_refusal(tmp_path: Path) -> None:
    async with a_server(tmp_path) as scene:
        browser = await scene.browser()
        await browser.open(scene.authorize(scope="mcp:read"))
        await browser.log_in("bob")
        await browser.submit("allow", untick=["class_read"])
        assert browser.brought["error"] == "access_denied"
        assert scene.live() == []


def test_a_handful_of_names_stands_for_all_of_a_class() -> None:
    names = [f"tool_{number}" for number in range(7)]
    shown = scopes.tools_of({ToolClass.READ: names, ToolClass.WRITE: ["x" * 200]})
    assert shown[ToolClass.READ] == (7, tuple(names[:5]))
    assert len(shown[ToolClass.WRITE].names[0]) == scopes.MAX_NAME


async def consent(scene: Scene, user: str) -> str:
    """Return the consent page as one line."""
    browser = await scene.browser()
    await browser.open(scene.authorize())
    await browser.log_in(user)
    assert browser.page is not None
    return " ".join(browser.page.text.split())


async def test_the_consent_page_says_which_tools_a_class_holds(tmp_path: Path) -> None:
    async with a_server(tmp_path) as scene:
        links = scene.admin.links = RecordedLinks()
        assert "No tools known now" in await consent(scene, "bob")
        evil = "<img src=x>\u202e"
        words = (word("look"), word(evil), word("put", ToolClass.WRITE))
        new = word("fresh", None, state=PinState.NEW)
        tools = {each.name: each for each in (*words, new)}
        links.offered = [Told("lab", ONE, "server", tools)]
        shown = await consent(scene, "bob")
        assert "2 tools: <bdi>&lt;img src=x&gt;\\u202e</bdi>, <bdi>look</bdi>" in shown
        assert "1 tool: <bdi>put</bdi>" in shown
        assert shown.count("<small>no tools</small>") == 4
        assert "fresh" not in shown
        assert "No tools known now" not in shown


async def test_whoever_may_not_use_a_server_learns_nothing_of_its_tools(tmp_path: Path) -> None:
    async with a_server(tmp_path) as scene:
        links = scene.admin.links = RecordedLinks()
        links.offered = [Told("lab", ONE, "server", {"look": word("look")})]
        shown = await consent(scene, "eve")
        assert "You may not use" in shown
        assert "look" not in shown
        assert "tools" not in shown
