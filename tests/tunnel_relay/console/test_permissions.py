"""The page that answers what a user could do."""

from pathlib import Path

from shared.policy.classes import ToolClass
from shared.policy.keeping import PolicyFile
from tests.tunnel_relay.console.stage import Stage, a_console
from tests.tunnel_relay.console.test_tools import a_desk
from tests.tunnel_relay.test_tools import ONE, told, word

TEXT = """\
version: 1
rules:
- {id: look, match: {class: read}, effect: allow}
- id: ask
  match: {class: write, group: ops}
  effect: require_approval
  approvers: {group: [boss]}
- {id: small, match: {class: draft}, when: 'args.n < 10', effect: allow}
"""


async def some_rules(stage: Stage) -> None:
    stage.admin.policy = PolicyFile("p", lambda: TEXT, lambda: None)
    words = (word("look"), word("put", ToolClass.WRITE), word("plan", ToolClass.DRAFT))
    await a_desk(stage, told(ONE, *words))
    await stage.admin.user_change("pia", groups=["ops"], servers=["office/git"])


def row(text: str, name: str) -> str:
    """Return the cells of one row as text."""
    line = text.split(f"<bdi>{name}</bdi>")[1].partition("</tr>")[0]
    return " ".join(line.split())


async def test_policy_and_sessions_are_shown_together(tmp_path: Path) -> None:
    async with a_console(tmp_path) as stage:
        await some_rules(stage)
        hand = await stage.logged_in("otto")
        assert 'href="/user/could?user=pia"' in (await hand.get("/user?user=pia")).text
        assert "Say with which agent" in (await hand.get("/user/could?user=pia")).text
        shown = (await hand.get("/user/could?user=pia&agent=bot")).text
        assert "none with this agent: it has to log in first" in shown
        assert ">allowed<" in row(shown, "look")
        assert ">asks a person<" in row(shown, "put")
        assert "by the arguments" in row(shown, "plan")
        assert ">yes<" not in shown
        await stage.admin.session_create("pia", "bot", "office/git", classes=["read"])
        shown = (await hand.get("/user/could?user=pia")).text  # the agent of the session
        assert "<td>yes</td>" in row(shown, "look")
        assert "<td>yes</td>" not in row(shown, "put")
        assert 'value="bot"' in shown


async def test_what_makes_all_of_it_void_is_said(tmp_path: Path) -> None:
    async with a_console(tmp_path) as stage:
        await some_rules(stage)
        hand = await stage.logged_in("ada")
        where = "/user/could?user=pia&agent=bot&server=office/"
        assert "may not open a session for office/time" in (await hand.get(where + "time")).text
        await stage.admin.user_disable("pia", "gone")
        assert "The user is disabled" in (await hand.get(where + "git")).text
        assert stage.admin.policy is not None
        stage.admin.policy.problem = "p.yaml:3: <odd>"
        assert "p.yaml:3: &lt;odd&gt;" in (await hand.get(where + "git")).text
        assert "p.yaml:3: &lt;odd&gt;" in (await hand.get("/")).text
        nowhere = (await hand.get("/user/could?user=uma&agent=bot")).text
        assert "office/git" in nowhere  # the owner's own
        await stage.admin.user_add("new")
        nowhere = (await hand.get("/user/could?user=new&agent=bot")).text
        assert "There is no server that this user may use" in nowhere


async def test_many_tools_are_shown_in_pages(tmp_path: Path) -> None:
    async with a_console(tmp_path) as stage:
        await some_rules(stage)
        stage.links.offered = [told(ONE, *(word(f"tool_{number:04}") for number in range(120)))]
        hand = await stage.logged_in("otto")
        where = "/user/could?user=pia&agent=bot"
        first = (await hand.get(where)).text
        assert "120 tools that agents can see" in first
        assert "page=2" in first
        last = (await hand.get(where + "&page=3")).text
        assert "tool_0119" in last
        assert 'rel="next"' not in last
        found = (await hand.get(where + "&query=0077")).text
        assert "1 tool that agents can see" in found


async def test_it_is_for_auditors_and_admins(tmp_path: Path) -> None:
    async with a_console(tmp_path) as stage:
        await some_rules(stage)
        hand = await stage.logged_in("pia")
        assert (await hand.get("/user/could?user=pia&agent=bot")).status_code == 403
        otto = await stage.logged_in("otto")
        assert (await otto.get("/user/could?user=none&agent=bot")).status_code == 404
