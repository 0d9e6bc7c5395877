"""Agents are registered, listed, switched off with all they hold."""

import time
from pathlib import Path

import pytest

from shared.ids import is_token, token_digest
from tests.tunnel_relay.admin.test_service import refused
from tests.tunnel_relay.making import RecordedLinks, an_admin, known
from tunnel_relay.errors import Code

CALLBACK = "http://127.0.0.1/callback"


async def test_a_registered_agent_is_kept_and_its_secret_shown_once(tmp_path: Path) -> None:
    async with an_admin(tmp_path) as admin:
        made = await admin.agent_add("bot", [CALLBACK], "The bot", secret=True)
        assert is_token(made["secret"])
        assert (await admin.agent_add("open", [CALLBACK]))["secret"] is None
    async with an_admin(tmp_path) as admin:
        shown = await admin.agent_list()
        assert [each["agent"] for each in shown] == ["bot", "open"]
        assert made["secret"] not in str(shown)
        assert admin.directory.agents["bot"].secret == token_digest(made["secret"])


@pytest.mark.parametrize("agent", ["", "a b", "a/b", "https://x/y", "-x", "x" * 101])
async def test_a_name_that_is_none_is_refused(tmp_path: Path, agent: str) -> None:
    async with an_admin(tmp_path) as admin:
        assert await refused(admin.agent_add(agent, [CALLBACK])) is Code.BAD_NAME


async def test_an_agent_needs_good_places_to_go_back_to(tmp_path: Path) -> None:
    async with an_admin(tmp_path) as admin:
        for uris in ([], ["http://evil.example"], [CALLBACK, "javascript:x"], [CALLBACK] * 11):
            assert await refused(admin.agent_add("bot", uris)) is Code.BAD_REQUEST
        await admin.agent_add("bot", [CALLBACK])
        assert await refused(admin.agent_add("bot", [CALLBACK])) is Code.AGENT_EXISTS


async def test_disabling_an_agent_ends_its_sessions(tmp_path: Path) -> None:
    async with an_admin(tmp_path) as admin:
        links = admin.links = RecordedLinks()
        await admin.tunnel_create("office", "carol")
        await admin.agent_add("bot", [CALLBACK])
        await known(admin, "bob")
        made = await admin.session_create("bob", "bot", "office/git")
        other = await admin.session_create("bob", "claude", "office/git")
        assert (await admin.agent_disable("bot"))["sessions"] == 1
        assert links.told == [("cut", made["session"]["id"])]
        assert admin.sessions.find(made["token"], time.time()) is None
        assert admin.sessions.find(other["token"], time.time())
        assert await refused(admin.session_create("bob", "bot", "office/git")) is Code.USER_DISABLED
        await admin.agent_enable("bot")
        assert await admin.session_create("bob", "bot", "office/git")
        assert await refused(admin.agent_disable("nobody")) is Code.AGENT_UNKNOWN
