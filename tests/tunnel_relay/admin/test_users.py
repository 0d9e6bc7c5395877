"""Users come, change and go; what is theirs goes with them."""

import time
from dataclasses import replace
from pathlib import Path

import anyio
import pytest
from pydantic import SecretStr

from shared.errors import CloseCode
from shared.keys import PrivateKey, encode_public
from tests.tunnel_relay.admin.test_service import broken, mended, refused
from tests.tunnel_relay.making import ORIGIN, RecordedLinks, an_admin, known
from tunnel_relay.admin.acting import acting
from tunnel_relay.errors import Code
from tunnel_relay.sessions import Refusal
from tunnel_relay.store.base import Role, Verdict

PASSWORD = SecretStr("correct horse battery")
INSTANCE = "b" * 32


async def test_a_user_is_kept_with_what_it_may_and_its_password_is_not_shown(
    tmp_path: Path,
) -> None:
    async with an_admin(tmp_path) as admin:
        made = await admin.user_add("ada", "Ada L", ["auditor"], ["ops"], ["office/*"], PASSWORD)
        assert made["user"]["roles"] == ["user", "auditor"]
        assert made["user"]["login"] is True
    async with an_admin(tmp_path) as admin:
        (shown,) = await admin.user_list()
        assert (shown["user"], shown["groups"], shown["servers"]) == ("ada", ["ops"], ["office/*"])
        stored = admin.directory.users["ada"].password
        assert stored
        assert await admin.passwords.verify(stored, PASSWORD)
        assert stored not in repr(admin.directory.users["ada"])
        assert stored not in str(await admin.user_show("ada"))


async def test_what_cannot_be_a_user_is_refused(tmp_path: Path) -> None:
    async with an_admin(tmp_path) as admin:
        await admin.user_add("ada")
        assert await refused(admin.user_add("ada")) is Code.USER_EXISTS
        assert await refused(admin.user_add("a\nb")) is Code.BAD_REQUEST
        assert await refused(admin.user_add("ftp://x#1")) is Code.BAD_REQUEST
        assert await refused(admin.user_add("https://idp#1", password=PASSWORD)) is Code.BAD_REQUEST
        assert await refused(admin.user_add("b", roles=["root"])) is Code.BAD_REQUEST
        assert await refused(admin.user_add("b", servers=["office"])) is Code.BAD_REQUEST
        assert await refused(admin.user_add("b", password=SecretStr("x"))) is Code.WEAK_PASSWORD
        assert await refused(admin.user_show("nobody")) is Code.USER_UNKNOWN


async def test_a_user_an_admin_names_is_known_from_then_on(tmp_path: Path) -> None:
    async with an_admin(tmp_path) as admin:
        await admin.tunnel_create("office", "ada")
        await admin.session_create("https://idp#bob", "claude", "office/git")
        users = [each["user"] for each in await admin.user_list()]
        assert users == ["ada", "https://idp#bob"]
        assert not any(each["login"] for each in await admin.user_list())


async def test_disabling_a_user_ends_all_that_is_theirs_and_refuses_more(tmp_path: Path) -> None:
    async with an_admin(tmp_path) as admin:
        links = admin.links = RecordedLinks()
        code = (await admin.tunnel_create("office", "ada"))["join_code"]
        await admin.tunnel_create("home", "carol")
        public = encode_public(PrivateKey.generate().public)
        await admin.enroll(code, public, INSTANCE, ORIGIN, {})
        hers = await admin.session_create("ada", "claude", "home/git")
        await known(admin, "bob")
        through_hers = await admin.session_create("bob", "claude", "office/git")
        other = await admin.session_create("bob", "claude", "home/git")
        report = await admin.user_disable("ada", "left")
        assert report["sessions"] == 2
        assert report["stored"] is True
        now = time.time()
        for made in (hers, through_hers):
            assert admin.sessions.why(made["token"], now) is Refusal.REVOKED
            assert ("cut", made["session"]["id"]) in links.told
        assert admin.sessions.find(other["token"], now)
        assert ("close_tunnel", "office", CloseCode.POLICY) in links.told
        assert await refused(admin.session_create("ada", "a", "home/git")) is Code.USER_DISABLED
        assert await refused(admin.session_create("bob", "a", "office/git")) is Code.BAD_REQUEST
        assert (await admin.admit("office", INSTANCE, 1)).verdict is Verdict.UNKNOWN
    async with an_admin(tmp_path) as admin:
        assert admin.sessions.why(hers["token"], now) is Refusal.REVOKED
        assert (await admin.admit("office", INSTANCE, 1)).verdict is Verdict.UNKNOWN
        await admin.user_enable("ada")
        assert admin.sessions.why(hers["token"], now) is Refusal.REVOKED
        assert (await admin.admit("office", INSTANCE, 2)).verdict is Verdict.ADMITTED


async def test_a_disabled_user_stays_so_though_the_store_is_down(tmp_path: Path) -> None:
    async with an_admin(tmp_path) as admin:
        await admin.tunnel_create("office", "carol")
        await known(admin, "bob")
        made = await admin.session_create("bob", "claude", "office/git")
        broken(tmp_path, "users")
        report = await admin.user_disable("bob")
        assert report["stored"] is False
        assert admin.sessions.find(made["token"], time.time()) is None
        mended(tmp_path, "users")
        await admin.flush_last_used()
    async with an_admin(tmp_path) as admin:
        assert admin.directory.active_user("bob") is None
        assert admin.sessions.find(made["token"], time.time()) is None


async def test_what_a_user_may_no_longer_use_ends_at_once(tmp_path: Path) -> None:
    async with an_admin(tmp_path) as admin:
        await admin.tunnel_create("office", "carol")
        await admin.user_add("bob", servers=["office/git", "office/wiki"])
        git = await admin.session_create("bob", "claude", "office/git")
        wiki = await admin.session_create("bob", "claude", "office/wiki")
        handed = await admin.session_create("bob", "claude", "office/mail")
        report = await admin.user_change("bob", servers=["office/wiki"])
        assert report["sessions"] == 1
        now = time.time()
        assert admin.sessions.find(git["token"], now) is None
        assert admin.sessions.find(wiki["token"], now)
        assert admin.sessions.find(handed["token"], now)


async def test_a_change_of_what_is_not_so_any_more_is_refused(tmp_path: Path) -> None:
    async with an_admin(tmp_path) as admin:
        await admin.user_add("bob", groups=["ops"], servers=["office/*", "lab/*"])
        before = await admin.user_show("bob")
        await admin.user_change("bob", servers=["lab/*"])
        was = {"servers": before["servers"]}
        late = admin.user_change("bob", servers=["office/*"], was=was)
        assert await refused(late) is Code.CHANGED_MEANWHILE
        assert admin.directory.users["bob"].servers == ("lab/*",)
        # What is not named may have changed, and does not hinder.
        was = {"groups": before["groups"]}
        await admin.user_change("bob", groups=[], was=was)
        assert admin.directory.users["bob"].groups == ()
        odd = admin.user_change("bob", name="Bob", was={"password": "x"})
        assert await refused(odd) is Code.BAD_REQUEST


async def test_an_issuers_group_keeps_the_blanks_around_it(tmp_path: Path) -> None:
    async with an_admin(tmp_path) as admin:
        await admin.user_add("bob")
        users = admin.directory.users
        users["bob"] = replace(users["bob"], groups=(" ops",))
        await admin.user_change("bob", groups=[" ops", " staff "])
        assert users["bob"].groups == (" ops", "staff")


async def test_who_has_many_groups_of_an_issuer_can_be_changed_but_not_given_more(
    tmp_path: Path,
) -> None:
    async with an_admin(tmp_path) as admin:
        await admin.user_add("bob")
        many = [f"group {number:03}" for number in range(257)]
        assert await refused(admin.user_change("bob", groups=many[:65])) is Code.BAD_REQUEST
        users = admin.directory.users
        users["bob"] = replace(users["bob"], groups=tuple(many[:256]))
        assert await refused(admin.user_change("bob", groups=many)) is Code.BAD_REQUEST
        await admin.user_change("bob", groups=[*many[1:256], "ops"])
        assert users["bob"].groups == (*many[1:256], "ops")
        servers = [f"office/s{number}" for number in range(65)]
        assert await refused(admin.user_change("bob", servers=servers)) is Code.BAD_REQUEST


async def test_the_last_admin_stays_and_nobody_raises_themselves(tmp_path: Path) -> None:
    async with an_admin(tmp_path) as admin:
        await admin.user_add("ada", roles=["admin"])
        await admin.user_add("bob")
        assert await refused(admin.user_disable("ada")) is Code.LAST_ADMIN
        assert await refused(admin.user_change("ada", roles=["auditor"])) is Code.LAST_ADMIN
        with acting("bob", frozenset((Role.ADMIN,))):
            attempt = admin.user_change("bob", roles=["admin"])
            assert await refused(attempt) is Code.NOT_PERMITTED
            assert await refused(admin.user_disable("bob")) is Code.NOT_PERMITTED
        await admin.user_change("bob", roles=["admin"])
        await admin.user_disable("ada")


@pytest.mark.parametrize("password", ["short", "x" * 2000])
async def test_a_weak_password_is_not_set(tmp_path: Path, password: str) -> None:
    async with an_admin(tmp_path) as admin:
        await admin.user_add("ada")
        attempt = admin.user_password("ada", SecretStr(password))
        assert await refused(attempt) is Code.WEAK_PASSWORD
        assert not (await admin.user_show("ada"))["login"]
        await admin.user_password("ada", PASSWORD)
        assert (await admin.user_show("ada"))["login"]


async def test_s29_a_user_disabled_while_a_login_is_noted_stays_disabled(tmp_path: Path) -> None:
    async with an_admin(tmp_path) as admin:
        await admin.user_add("bob", password=PASSWORD)
        with anyio.fail_after(30):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(admin.note_login, "bob")
                tasks.start_soon(admin.user_disable, "bob")
        assert admin.directory.active_user("bob") is None
        assert admin.directory.users["bob"].last_login is not None
    async with an_admin(tmp_path) as admin:
        assert admin.directory.active_user("bob") is None


async def test_s29_a_user_made_and_disabled_while_it_is_added_stays_disabled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with an_admin(tmp_path) as admin:
        hashed = admin.passwords.hash

        async def meanwhile(password: SecretStr) -> str:
            await admin.person("bob", "the user")
            await admin.user_disable("bob")
            return await hashed(password)

        monkeypatch.setattr(admin.passwords, "hash", meanwhile)
        assert await refused(admin.user_add("bob", password=PASSWORD)) is Code.USER_EXISTS
        assert admin.directory.active_user("bob") is None
    async with an_admin(tmp_path) as admin:
        assert admin.directory.active_user("bob") is None
        assert admin.directory.users["bob"].password is None
