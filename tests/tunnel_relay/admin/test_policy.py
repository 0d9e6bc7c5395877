"""What a user could do: policy, the tools that are known, and the sessions that live."""

from pathlib import Path
from typing import Any

import pytest

from shared.policy.classes import ToolClass
from shared.policy.keeping import PolicyFile
from shared.wire.tools import PinState
from tests.tunnel_relay.making import RecordedLinks, an_admin
from tests.tunnel_relay.test_tools import ONE, told, word
from tunnel_relay.admin.service import Admin
from tunnel_relay.errors import Code, RelayError

TEXT = """\
version: 1
rules:
- {id: look, match: {class: read}, effect: allow}
- {id: ops-write, match: {class: write, group: ops}, effect: allow}
- {id: see, match: {method: "resources/*"}, effect: allow}
"""


async def people(admin: Admin) -> RecordedLinks:
    links = RecordedLinks()
    admin.links = links
    admin.policy = PolicyFile("p", lambda: TEXT, lambda: None)
    await admin.tunnel_create("office", "abe")
    await admin.user_add("uma", groups=["ops"], servers=["office/git"])
    tools = (word("look"), word("put", ToolClass.WRITE), word("new", None, state=PinState.NEW))
    links.offered = [told(ONE, *tools), told(ONE, word("look"), upstream="time")]
    return links


def by_what(rows: list[dict[str, Any]], key: str = "what") -> dict[str, tuple[str, bool]]:
    return {str(row[key]): (row["effects"][0], row["open"]) for row in rows}


async def test_the_map_is_of_the_tools_and_the_sessions_there_are(tmp_path: Path) -> None:
    async with an_admin(tmp_path) as admin:
        await people(admin)
        found = await admin.policy_map("uma", "bot")
        assert found["servers"] == ["office/git"]
        assert (found["server"], found["allowed"]) == ("office/git", True)
        assert found["groups"] == ["ops"]
        assert by_what(found["tools"]) == {"look": ("allow", False), "put": ("allow", False)}
        await admin.session_create("uma", "bot", "office/git", classes=["read"])
        found = await admin.policy_map("uma", "bot", "office/git")
        assert by_what(found["tools"]) == {"look": ("allow", True), "put": ("allow", False)}
        assert by_what(found["classes"], "class")["read"] == ("allow", True)
        assert by_what(found["classes"], "class")["admin"] == ("deny", False)
        assert by_what(found["methods"])["resources/read"] == ("allow", True)
        assert len(found["sessions"]) == 1
        await admin.user_change("uma", groups=[])
        found = await admin.policy_map("uma", "bot", query="PUT")
        assert by_what(found["tools"]) == {"put": ("deny", False)}
        assert found["total"] == 1


async def test_of_a_server_that_is_not_theirs_it_says_so(tmp_path: Path) -> None:
    async with an_admin(tmp_path) as admin:
        await people(admin)
        assert (await admin.policy_map("uma", "bot", "office/time"))["allowed"] is False
        await admin.user_add("nobody")
        found = await admin.policy_map("nobody", "bot")
        assert (found["servers"], found["server"], found["tools"]) == ([], None, [])
        for wrong in ({"user": "none"}, {"limit": 0}, {"limit": 501}, {"server": "none/git"}):
            with pytest.raises(RelayError):
                await admin.policy_map(**({"user": "uma", "agent": "bot"} | wrong))


async def test_what_a_map_is_made_of_is_told_to_the_commands(tmp_path: Path) -> None:
    async with an_admin(tmp_path) as admin:
        await people(admin)
        known = await admin.policy_known("uma")
        assert (known["known"], known["groups"], known["servers"]) == (
            True,
            ["ops"],
            ["office/git"],
        )
        assert known["tools"] == [("office/git", "look", "read"), ("office/git", "put", "write")]
        stranger = await admin.policy_known("stranger")
        assert (stranger["known"], stranger["servers"]) == (False, ["office/git", "office/time"])
        owner = await admin.policy_known("abe")
        assert owner["servers"] == ["office/git", "office/time"]


async def test_the_status_says_which_policy_holds_and_what_is_wrong_with_its_file(
    tmp_path: Path,
) -> None:
    async with an_admin(tmp_path) as admin:
        facts = (await admin.status())["policy"]
        assert facts["problem"] is None
        assert facts["rules"] == 1
        held = admin.policy = PolicyFile("p.yaml", lambda: TEXT, lambda: None)
        held.problem = "p.yaml:3: odd"
        facts = (await admin.status())["policy"]
        assert facts == {"digest": held.policy.digest, "rules": 3, "problem": "p.yaml:3: odd"}
    (tmp_path / "relay-policy.yaml").unlink()
    async with an_admin(tmp_path) as admin:
        facts = (await admin.status())["policy"]
        assert facts["digest"] is None
        assert facts["problem"].startswith(Code.POLICY_MISSING)
