"""A lock holds in memory first, cuts, is stored last, and outlives the relay."""

from collections.abc import Sequence
from pathlib import Path

import anyio
import pytest

from shared.errors import CloseCode
from shared.keys import PrivateKey, encode_public
from tests.tunnel_relay.admin.test_service import broken, granted, mended, refused
from tests.tunnel_relay.making import RecordedLinks, an_admin, known
from tunnel_relay.admin.links import CUT_WAIT
from tunnel_relay.admin.locks import MAX_TTL
from tunnel_relay.errors import Code
from tunnel_relay.sessions import Refusal
from tunnel_relay.store.base import StoreError, Verdict

INSTANCE = "a" * 32


async def test_a_lock_cuts_every_session_it_hits_and_no_other(tmp_path: Path) -> None:
    async with an_admin(tmp_path) as admin:
        links = admin.links = RecordedLinks()
        first, token = await granted(admin)
        second, _ = await granted(admin)
        await known(admin, "carol")
        other = await admin.session_create("carol", "claude", "office/git")
        ended, _ = await granted(admin)
        await admin.session_revoke(ended)
        links.told.clear()
        made = await admin.lock_add("user", "bob@example.com", "laptop lost")
        assert sorted(links.told) == sorted([("cut", first), ("cut", second)])
        cut = made["cut"]
        assert (cut["sessions"], cut["streams"], cut["closed"], cut["silent"]) == (2, 6, 0, [])
        assert made["stored"] is True
        now = admin.clock()
        assert admin.sessions.why(token, now) is Refusal.LOCKED
        assert admin.sessions.find(other["token"], now) is not None
        assert (await admin.session_show(first))["state"] == "locked"
        assert (await admin.status())["locks"] == 1


async def test_what_is_locked_gets_no_new_session(tmp_path: Path) -> None:
    async with an_admin(tmp_path) as admin:
        await granted(admin)
        for kind, subject in (
            ("user", "bob@example.com"),
            ("agent", "claude"),
            ("upstream", "office/git"),
            ("tunnel", "office"),
        ):
            made = await admin.lock_add(kind, subject, "why")
            create = admin.session_create("bob@example.com", "claude", "office/git")
            assert await refused(create) is Code.LOCKED
            await admin.lock_remove(made["lock"]["id"][:8])
        await granted(admin)


async def test_a_lock_lasts_ten_years_at_most_or_until_it_is_lifted(tmp_path: Path) -> None:
    async with an_admin(tmp_path) as admin:
        for ttl in (0.0, -1.0, MAX_TTL + 1, float("inf"), float("nan")):
            long = admin.lock_add("user", "mallory", "why", ttl=ttl)
            assert await refused(long) is Code.BAD_DURATION, ttl
        assert await admin.lock_list() == []
        await admin.lock_add("user", "mallory", "why", ttl=MAX_TTL)
        await admin.lock_add("user", "mallory", "why")


async def test_locks_survive_a_restart_until_their_time_is_over(tmp_path: Path) -> None:
    async with an_admin(tmp_path) as admin:
        _, token = await granted(admin)
        kept = await admin.lock_add("user", "bob@example.com", "why")
        await admin.lock_add("agent", "gone", "why", ttl=0.001)
    async with an_admin(tmp_path) as admin:
        assert [each["id"] for each in await admin.lock_list()] == [kept["lock"]["id"]]
        assert [each.id for each in await admin.store.locks()] == [kept["lock"]["id"]]
        assert admin.sessions.why(token, admin.clock()) is Refusal.LOCKED
        await admin.lock_remove(kept["lock"]["id"])
    async with an_admin(tmp_path) as admin:
        assert await admin.lock_list() == []
        assert admin.sessions.find(token, admin.clock()) is not None


async def test_a_store_that_fails_delays_only_the_storing(tmp_path: Path) -> None:
    async with an_admin(tmp_path) as admin:
        links = admin.links = RecordedLinks()
        session, token = await granted(admin)
        broken(tmp_path, "locks")
        made = await admin.lock_add("tunnel", "office", "why")
        assert made["stored"] is False
        assert links.told == [("cut", session), ("close_tunnel", "office", CloseCode.POLICY)]
        assert admin.sessions.why(token, admin.clock()) is Refusal.LOCKED
        mended(tmp_path, "locks")
        await admin.flush_last_used()
        assert len(await admin.store.locks()) == 1


async def test_a_lock_that_was_not_stored_yet_is_not_stored_after_it_was_lifted(
    tmp_path: Path,
) -> None:
    async with an_admin(tmp_path) as admin:
        broken(tmp_path, "locks")
        made = await admin.lock_add("user", "bob", "why")
        mended(tmp_path, "locks")
        await admin.lock_remove(made["lock"]["id"])
        await admin.flush_last_used()
        assert await admin.store.locks() == []


async def test_a_locked_key_loses_its_link_and_gets_no_new_one(tmp_path: Path) -> None:
    async with an_admin(tmp_path) as admin:
        links = admin.links = RecordedLinks()
        await admin.tunnel_create("office", "alice")
        made = await admin.lock_add("key", INSTANCE, "stolen")
        assert links.told == [("close_instance", INSTANCE, CloseCode.POLICY)]
        assert made["cut"]["closed"] == 1
        admission = await admin.admit("office", INSTANCE, 1)
        assert not admission.admitted
        assert admission.close_code is CloseCode.POLICY


@pytest.mark.parametrize(
    ("kind", "subject", "code"),
    [
        ("planet", "mars", Code.BAD_REQUEST),
        ("user", "", Code.BAD_REQUEST),
        ("user", "a\nb", Code.BAD_REQUEST),
        ("upstream", "office", Code.BAD_REQUEST),
        ("tunnel", "../x", Code.BAD_NAME),
        ("key", "abc", Code.BAD_REQUEST),
    ],
)
async def test_malformed_subjects_are_refused(
    tmp_path: Path, kind: str, subject: str, code: Code
) -> None:
    async with an_admin(tmp_path) as admin:
        assert await refused(admin.lock_add(kind, subject, "why")) is code
        assert await admin.lock_list() == []


async def test_a_lock_is_named_by_the_start_of_its_identifier(tmp_path: Path) -> None:
    async with an_admin(tmp_path) as admin:
        made = await admin.lock_add("user", "bob", "why")
        assert await refused(admin.lock_remove(made["lock"]["id"][:5])) is Code.LOCK_UNKNOWN
        assert await refused(admin.lock_remove("f" * 32)) is Code.LOCK_UNKNOWN
        assert len(await admin.lock_list()) == 1


async def test_a_lock_lifted_while_it_cuts_is_not_stored(tmp_path: Path) -> None:
    async with an_admin(tmp_path) as admin:

        class Lifting(RecordedLinks):
            async def cut_sessions(
                self, sessions: Sequence[str], wait: float = CUT_WAIT
            ) -> dict[str, object]:
                (lock,) = await admin.lock_list()
                await admin.lock_remove(lock["id"])
                return await super().cut_sessions(sessions, wait)

        admin.links = Lifting()
        _, token = await granted(admin)
        await admin.lock_add("user", "bob@example.com", "why")
        assert await admin.store.locks() == []
        assert admin.sessions.find(token, admin.clock()) is not None


async def test_a_client_is_not_admitted_when_it_is_locked_while_the_store_is_asked(
    tmp_path: Path,
) -> None:
    async with an_admin(tmp_path) as admin:
        made = await admin.tunnel_create("office", "alice")
        key = encode_public(PrivateKey.generate().public)
        origin = "wss://relay.example.com"
        await admin.enroll(made["join_code"], key, INSTANCE, origin, {})
        ask = admin.store.admit

        async def slowly(tunnel: str, instance: str, counter: int) -> Verdict:
            verdict = await ask(tunnel, instance, counter)
            assert verdict is Verdict.ADMITTED
            await admin.lock_add("key", INSTANCE, "stolen")
            return verdict

        admin.store.admit = slowly  # type: ignore[method-assign] # a store that takes its time
        assert not (await admin.admit("office", INSTANCE, 1)).admitted


async def test_locks_whose_time_is_over_are_forgotten(tmp_path: Path) -> None:
    async with an_admin(tmp_path) as admin:
        for _ in range(3):
            await admin.lock_add("user", "bob", "why", ttl=0.001)
        await anyio.sleep(0.01)
        kept = await admin.lock_add("user", "carol", "why")
        assert [lock.id for lock in admin.locks.all()] == [kept["lock"]["id"]]
        assert [lock.id for lock in await admin.store.locks()] == [kept["lock"]["id"]]


async def test_the_same_lock_is_stored_twice_without_harm(tmp_path: Path) -> None:
    async with an_admin(tmp_path) as admin:
        await admin.lock_add("user", "bob", "why")
        (lock,) = await admin.store.locks()
        await admin.store.add_lock(lock)
        assert await admin.store.locks() == [lock]


async def test_a_lock_that_could_not_be_lifted_is_stored_still(tmp_path: Path) -> None:
    async with an_admin(tmp_path) as admin:
        broken(tmp_path, "locks")
        made = await admin.lock_add("user", "bob", "why")
        with pytest.raises(StoreError):
            await admin.lock_remove(made["lock"]["id"])
        assert len(await admin.lock_list()) == 1
        mended(tmp_path, "locks")
        await admin.flush_last_used()
        assert [lock.id for lock in await admin.store.locks()] == [made["lock"]["id"]]


async def test_a_lock_holds_before_the_store_is_asked_anything(tmp_path: Path) -> None:
    async with an_admin(tmp_path) as admin:
        links = admin.links = RecordedLinks()
        session, token = await granted(admin)
        await admin.lock_add("user", "carol", "why", ttl=0.001)
        await anyio.sleep(0.01)
        links.told.clear()
        remove, seen = admin.store.remove_lock, []

        async def watched(lock: str) -> bool:
            seen.append((admin.sessions.why(token, admin.clock()), list(links.told)))
            return await remove(lock)

        admin.store.remove_lock = watched  # type: ignore[method-assign] # to see what holds by then
        await admin.lock_add("user", "bob@example.com", "why")
        assert seen == [(Refusal.LOCKED, [("cut", session)])]


async def test_a_client_that_was_away_is_told_what_a_lock_cut_until_it_is_lifted(
    tmp_path: Path,
) -> None:
    async with an_admin(tmp_path) as admin:
        session, _ = await granted(admin)
        before = admin.clock()
        made = await admin.lock_add("user", "bob@example.com", "why")
        assert admin.sessions.ended_in("office", before, admin.clock()) == [session]
        await admin.lock_remove(made["lock"]["id"])
        assert admin.sessions.ended_in("office", before, admin.clock()) == []
