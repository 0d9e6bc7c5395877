"""Users as their issuer says: the newest word counts, and what it takes away holds at once."""

from pathlib import Path

import pytest
from sqlalchemy import text

from tests.tunnel_relay.making import an_admin
from tunnel_relay.admin.service import Admin
from tunnel_relay.errors import Code, RelayError
from tunnel_relay.identity.claims import Person
from tunnel_relay.identity.rights import NOTHING, Rights
from tunnel_relay.store.base import Role, StoreError, User

ISSUER = "https://idp.example.com"
KEY = f"{ISSUER}#u"


def person(said: float, *groups: str, name: str = "Uma") -> Person:
    return Person(ISSUER, "u", name, frozenset(groups), said)


def rights(*servers: str, roles: tuple[Role, ...] = (Role.USER,)) -> Rights:
    return Rights(("g",), servers, roles)


async def stored(admin: Admin) -> User:
    (user,) = [each for each in await admin.store.users() if each.key == KEY]
    return user


async def test_a_user_is_made_and_follows_what_is_said(tmp_path: Path) -> None:
    async with an_admin(tmp_path) as admin:
        made = await admin.vouch(person(10), rights("office/git"))
        assert (made.name, made.as_of, made.servers) == ("Uma", 10, ("office/git",))
        more = await admin.vouch(person(20), rights("office/*", roles=(Role.USER, Role.AUDITOR)))
        assert (more.servers, more.roles) == (("office/*",), (Role.USER, Role.AUDITOR))
        assert await stored(admin) == more


async def test_older_words_count_not_and_equally_old_ones_only_take_away(tmp_path: Path) -> None:
    async with an_admin(tmp_path) as admin:
        first = await admin.vouch(person(10), rights("a/b"))
        assert await admin.vouch(person(9), rights("a/b", "a/c")) == first
        assert await admin.vouch(person(10), rights("a/b", "a/c")) == first
        assert (await admin.vouch(person(10), rights("a/c"))).servers == ()


async def test_the_same_words_again_are_not_written(tmp_path: Path) -> None:
    async with an_admin(tmp_path) as admin:
        await admin.vouch(person(10), rights("a/b"))
        newer = admin.vouched(person(20), rights("a/b"))
        assert newer is not None
        assert newer.as_of == 20
        assert (await stored(admin)).as_of == 10
        assert admin.vouched(person(15), rights("a/c")) == newer
        assert admin.vouched(person(30), rights("a/c")) is None


async def test_what_is_lost_ends_at_once_even_when_it_cannot_be_stored(tmp_path: Path) -> None:
    async with an_admin(tmp_path) as admin:
        await admin.tunnel_create("office", "olga")
        user = await admin.vouch(person(10), rights("office/git", "office/mail"))
        for upstream in ("git", "mail"):
            await admin.open_session(admin.new_session(user, "bot", ("office", upstream)))
        async with admin.store.transaction() as connection:  # type: ignore[attr-defined]
            await connection.execute(text("ALTER TABLE users RENAME TO away"))
        assert (await admin.vouch(person(20), rights("office/git"))).servers == ("office/git",)
        live = [each.upstream for each in admin.sessions.all() if each.revoked is None]
        assert live == ["git"]
        # What gives is stored first.
        with pytest.raises(StoreError):
            await admin.vouch(person(30), rights("office/git", "office/mail"))
        assert admin.directory.users[KEY].servers == ("office/git",)
        async with admin.store.transaction() as connection:  # type: ignore[attr-defined]
            await connection.execute(text("ALTER TABLE away RENAME TO users"))
        await admin.flush_last_used()
        assert (await stored(admin)).servers == ("office/git",)


async def test_a_disabled_user_stays_that_whatever_is_said(tmp_path: Path) -> None:
    async with an_admin(tmp_path) as admin:
        await admin.vouch(person(10), rights("a/b"))
        await admin.user_disable(KEY)
        for said in (20, 30):
            assert (await admin.vouch(person(said), rights("a/c"))).disabled
        assert (await stored(admin)).disabled


async def test_without_rules_a_user_is_an_admins_matter(tmp_path: Path) -> None:
    async with an_admin(tmp_path) as admin:
        assert admin.vouched(person(10), None) is None
        with pytest.raises(RelayError) as caught:
            await admin.vouch(person(10), None)
        assert caught.value.code is Code.USER_UNKNOWN
        await admin.user_add(KEY, servers=["a/b"])
        assert (await admin.vouch(person(10), None)).servers == ("a/b",)


async def test_one_who_may_nothing_any_more_is_an_ordinary_user(tmp_path: Path) -> None:
    async with an_admin(tmp_path) as admin:
        await admin.vouch(person(10), rights(roles=(Role.USER, Role.ADMIN)))
        assert (await admin.vouch(person(20), NOTHING)).roles == (Role.USER,)
