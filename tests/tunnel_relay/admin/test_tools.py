"""Commands about tools: pages of thousands, one of them with its definition, counts."""

from pathlib import Path

import pytest

from tests.tunnel_relay.making import RecordedLinks, an_admin
from tests.tunnel_relay.test_tools import ONE, TEXT, TWO, told, word
from tunnel_relay.admin.commands import run_command
from tunnel_relay.errors import Code, RelayError


async def test_five_thousand_tools_are_listed_in_pages(tmp_path: Path) -> None:
    async with an_admin(tmp_path) as admin:
        links = admin.links = RecordedLinks()
        await admin.tunnel_create("office", "uma")
        links.offered = [told(ONE, *(word(f"tool_{number:04}") for number in range(5000)))]
        seen, start = [], 0
        while True:
            page = await admin.tool_list("office/git", limit=1000, start=start)
            seen += [row["tool"] for row in page["tools"]]
            if page["next"] is None:
                break
            start = page["next"]
        assert len(set(seen)) == page["total"] == 5000
        found = await admin.tool_list(query="TOOL_4999", definitions=True)
        assert [row["definitions"][0]["text"] for row in found["tools"]] == [TEXT]
        assert found["servers"][0]["tools"] == 5000
        assert (await admin.tool_list(state="changed"))["tools"] == []


async def test_all_servers_are_listed_and_counted(tmp_path: Path) -> None:
    async with an_admin(tmp_path) as admin:
        links = admin.links = RecordedLinks()
        links.offered = [
            told(ONE, word("a")),
            told(TWO, word("a"), word("b")),
            told(ONE, word("c"), upstream="time"),
        ]
        found = await admin.tool_list()
        listed = [(row["server"], row["tool"]) for row in found["tools"]]
        assert listed == [("office/git", "a"), ("office/git", "b"), ("office/time", "c")]
        counts = {"pinned": 3, "new": 0, "changed": 0, "differs": 1}
        assert await admin.tool_counts() == {"office": counts}
        assert (await admin.status())["tools"] == {"office": counts}


async def test_a_tool_that_nobody_tells_of_is_unknown(tmp_path: Path) -> None:
    async with an_admin(tmp_path) as admin:
        links = admin.links = RecordedLinks()
        await admin.tunnel_create("office", "uma")
        for server, name, code in (
            ("office/git", "look", Code.TOOL_UNKNOWN),
            ("none/git", "look", Code.TUNNEL_UNKNOWN),
            ("office", "look", Code.BAD_REQUEST),
        ):
            with pytest.raises(RelayError) as caught:
                await admin.tool_show(server, name)
            assert caught.value.code is code
        assert (await admin.tool_list("office/git"))["servers"][0]["clients"] == 0
        links.offered = [told(ONE, word("look"))]
        shown = await admin.tool_show("office/git", "look")
        assert shown["definitions"][0]["text"] == TEXT


WRONG: list[dict[str, object]] = [
    {"limit": 0},
    {"limit": 1001},
    {"limit": 101, "definitions": True},
    {"start": -1},
    {"state": "odd"},
    {"query": "x" * 201},
]


@pytest.mark.parametrize("wrong", WRONG)
async def test_what_may_be_asked_for_is_bounded(tmp_path: Path, wrong: dict[str, object]) -> None:
    async with an_admin(tmp_path) as admin:
        with pytest.raises(RelayError) as caught:
            await run_command(admin, "tool_list", wrong)
        assert caught.value.code is Code.BAD_REQUEST
