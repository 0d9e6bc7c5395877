"""S29: two commands at once, one of which waits for a silent client or a slow database.

What was taken away, and reported so, stays taken away: in memory, and after a restart.
"""

import time
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from pathlib import Path
from typing import Any

import anyio
import pytest

from tests.tunnel_relay.admin.test_pending import killed
from tests.tunnel_relay.admin.test_service import broken, granted, mended, refused
from tests.tunnel_relay.making import RecordedLinks, an_admin
from tunnel_relay.admin.links import CUT_WAIT
from tunnel_relay.admin.service import Admin
from tunnel_relay.errors import Code
from tunnel_relay.identity.claims import Person
from tunnel_relay.identity.rights import Rights, Rules
from tunnel_relay.store.base import Bar, Role

CALLBACK = "https://agent.example/callback"
ISSUER = "https://idp.example.com"


class SilentLinks(RecordedLinks):
    """Clients that do not answer the first order to cut until they are let."""

    def __init__(self) -> None:
        super().__init__()
        self.asked, self.answer = anyio.Event(), anyio.Event()

    async def cut_sessions(self, sessions: Sequence[str], wait: float = CUT_WAIT) -> dict[str, Any]:
        if not self.asked.is_set():
            self.asked.set()
            await self.answer.wait()
        return await super().cut_sessions(sessions, wait)


async def meanwhile(
    admin: Admin, slow: Callable[[], Coroutine[Any, Any, Any]], act: Callable[[], Awaitable[object]]
) -> None:
    """Do something while a command waits for clients that are silent."""
    links = admin.links = SilentLinks()
    with anyio.fail_after(30):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(slow)
            await links.asked.wait()
            await act()
            links.answer.set()


def stored_slowly(
    admin: Admin,
    monkeypatch: pytest.MonkeyPatch,
    method: str,
    act: Callable[[], Awaitable[object]],
) -> None:
    """Let something happen right after the store took a change and before its caller knows."""
    take = getattr(admin.store, method)

    async def taken(*arguments: Any) -> Any:
        monkeypatch.setattr(admin.store, method, take)
        answer = await take(*arguments)
        await act()
        return answer

    monkeypatch.setattr(admin.store, method, taken)


async def test_a_user_disabled_while_a_change_still_cuts_stays_disabled(tmp_path: Path) -> None:
    async with an_admin(tmp_path) as admin:
        await admin.tunnel_create("office", "carol")
        await admin.user_add("bob", servers=["office/git"])
        await admin.session_create("bob", "claude", "office/git")
        await meanwhile(
            admin,
            lambda: admin.user_change("bob", servers=[]),
            lambda: admin.user_disable("bob"),
        )
        assert admin.directory.active_user("bob") is None
    async with an_admin(tmp_path) as admin:
        assert admin.directory.active_user("bob") is None
        assert admin.directory.users["bob"].servers == ()


async def test_roles_taken_while_a_user_is_being_disabled_stay_taken(tmp_path: Path) -> None:
    async with an_admin(tmp_path) as admin:
        await admin.user_add("ada", roles=["admin"])
        await admin.user_add("bob", roles=["admin"])
        await granted(admin)
        await admin.session_create("bob", "claude", "office/git")
        await meanwhile(
            admin,
            lambda: admin.user_disable("bob"),
            lambda: admin.user_change("bob", roles=["auditor"]),
        )
    async with an_admin(tmp_path) as admin:
        assert admin.directory.active_user("bob") is None
        assert Role.ADMIN not in admin.directory.users["bob"].roles


async def test_a_user_disabled_while_they_are_enabled_stays_disabled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with an_admin(tmp_path) as admin:
        await admin.user_add("bob")
        await admin.user_disable("bob")
        stored_slowly(admin, monkeypatch, "put_user", lambda: admin.user_disable("bob"))
        assert (await admin.user_enable("bob"))["user"]["disabled"] is not None
        assert admin.directory.active_user("bob") is None
    async with an_admin(tmp_path) as admin:
        assert admin.directory.active_user("bob") is None
        await admin.user_enable("bob")
        assert admin.directory.active_user("bob")


async def test_a_user_disabled_while_the_rules_of_a_start_are_applied_stays_disabled(
    tmp_path: Path,
) -> None:
    async with an_admin(tmp_path) as admin:
        await admin.tunnel_create("office", "carol")
        for subject in ("one", "two"):
            person = Person(ISSUER, subject, subject, frozenset(), 1.0)
            user = await admin.vouch(person, Rights((), ("office/git",), (Role.USER,)))
            await admin.open_session(admin.new_session(user, "bot", ("office", "git")))
        await meanwhile(
            admin,
            lambda: admin.apply_rules(Rules(admin.settings)),  # which know this issuer no more
            lambda: admin.user_disable(f"{ISSUER}#two"),
        )
        assert admin.directory.users[f"{ISSUER}#one"].servers == ()
        assert admin.directory.active_user(f"{ISSUER}#two") is None
    async with an_admin(tmp_path) as admin:
        assert admin.directory.active_user(f"{ISSUER}#two") is None
        assert admin.directory.users[f"{ISSUER}#two"].servers == ()


async def test_a_user_named_while_they_are_added_keeps_what_they_may(tmp_path: Path) -> None:
    async with an_admin(tmp_path) as admin:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(lambda: admin.user_add("bob", servers=["office/git"]))
            tasks.start_soon(admin.person, "bob", "the user")
        assert admin.directory.users["bob"].servers == ("office/git",)
    async with an_admin(tmp_path) as admin:
        assert admin.directory.users["bob"].servers == ("office/git",)


async def test_a_tunnel_disabled_while_it_is_enabled_stays_disabled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with an_admin(tmp_path) as admin:
        _, token = await granted(admin)
        await admin.tunnel_disable("office")
        stored_slowly(admin, monkeypatch, "set_disabled", lambda: admin.tunnel_disable("office"))
        assert (await admin.tunnel_enable("office"))["tunnel"]["disabled"] is True
        assert admin.tunnel("office").disabled
        assert admin.sessions.find(token, time.time()) is None
    async with an_admin(tmp_path) as admin:
        assert admin.tunnel("office").disabled


async def test_a_tunnel_deleted_while_it_is_enabled_is_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with an_admin(tmp_path) as admin:
        await granted(admin)
        await admin.tunnel_disable("office")
        stored_slowly(admin, monkeypatch, "set_disabled", lambda: admin.tunnel_delete("office"))
        assert await refused(admin.tunnel_enable("office")) is Code.TUNNEL_UNKNOWN
        assert await admin.tunnel_list() == []


async def test_a_tunnel_deleted_while_it_is_being_disabled_is_gone_though_the_store_fails(
    tmp_path: Path,
) -> None:
    async with an_admin(tmp_path) as admin:
        await granted(admin)

        async def deleted() -> None:
            broken(tmp_path, "tunnels")
            assert (await admin.tunnel_delete("office"))["stored"] is False
            mended(tmp_path, "tunnels")

        await meanwhile(admin, lambda: admin.tunnel_disable("office"), deleted)
        await admin.flush_last_used()
    async with an_admin(tmp_path) as admin:
        assert await admin.tunnel_list() == []


async def test_a_tunnel_enabled_while_it_is_being_disabled_is_on_after_a_restart_too(
    tmp_path: Path,
) -> None:
    async with an_admin(tmp_path) as admin:
        await granted(admin)

        async def enabled() -> None:
            assert (await admin.tunnel_enable("office"))["tunnel"]["disabled"] is False

        await meanwhile(admin, lambda: admin.tunnel_disable("office"), enabled)
    async with an_admin(tmp_path) as admin:
        assert not admin.tunnel("office").disabled


async def test_a_tunnel_made_anew_is_not_deleted_by_what_was_left_of_the_one_before(
    tmp_path: Path,
) -> None:
    async with an_admin(tmp_path) as admin:
        await granted(admin)
        broken(tmp_path, "tunnels")
        assert (await admin.tunnel_delete("office"))["stored"] is False
        mended(tmp_path, "tunnels")
        await admin.store.delete_tunnel("office")  # as an attempt that came through late
        await admin.tunnel_create("office", "alice")
        assert await admin.pending.flush() is None
        await admin.flush_last_used()
    async with an_admin(tmp_path) as admin:
        assert admin.tunnel("office").owner == "alice"


async def test_an_agent_enabled_while_it_is_being_disabled_is_on_after_a_restart_too(
    tmp_path: Path,
) -> None:
    async with an_admin(tmp_path) as admin:
        await granted(admin)
        await admin.agent_add("claude", [CALLBACK])

        async def enabled() -> None:
            assert (await admin.agent_enable("claude"))["agent"]["disabled"] is None

        await meanwhile(admin, lambda: admin.agent_disable("claude"), enabled)
        assert admin.directory.active_agent("claude")
    async with an_admin(tmp_path) as admin:
        assert admin.directory.active_agent("claude")


async def test_an_agent_disabled_while_it_is_enabled_stays_disabled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with an_admin(tmp_path) as admin:
        await admin.agent_add("bot", [CALLBACK])
        await admin.agent_disable("bot")
        stored_slowly(admin, monkeypatch, "put_agent", lambda: admin.agent_disable("bot"))
        await admin.agent_enable("bot")
        assert admin.directory.active_agent("bot") is None
    async with an_admin(tmp_path) as admin:
        assert admin.directory.active_agent("bot") is None


async def test_a_bar_of_a_tunnel_that_is_gone_keeps_no_relay_from_starting(tmp_path: Path) -> None:
    """A session was revoked while its tunnel was deleted, and the process died before it told."""
    async with an_admin(tmp_path) as admin:
        bar = Bar("a" * 32, "https://idp#u", "claude", "office", "git", admin.clock(), "stolen")
        await admin.store.add_bar(bar)
        assert await admin.store.bars() == []


async def test_a_later_change_is_not_taken_for_settled_with_the_one_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with an_admin(tmp_path) as admin:
        await admin.user_add("bob")
        broken(tmp_path, "users")
        await admin.user_disable("bob")
        mended(tmp_path, "users")

        async def again() -> None:
            broken(tmp_path, "users")
            assert (await admin.user_disable("bob"))["journalled"]

        stored_slowly(admin, monkeypatch, "put_user", again)
        with pytest.raises(Exception, match="users"):
            await admin.user_enable("bob")
        await killed(tmp_path, admin)
        mended(tmp_path, "users")
    async with an_admin(tmp_path) as admin:
        assert admin.directory.active_user("bob") is None
