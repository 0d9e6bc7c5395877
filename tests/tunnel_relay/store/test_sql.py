"""What the store keeps, also when many ask at once and when the process ends."""

import asyncio
import sqlite3
import stat
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from dataclasses import replace
from pathlib import Path

import anyio
import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import create_engine

from shared.ids import JOIN_PREFIX, REFRESH_PREFIX, SESSION_PREFIX, new_id, new_token, token_digest
from shared.keys import PrivateKey
from tunnel_relay.store.base import (
    ExistsError,
    Instance,
    JoinCode,
    Joining,
    Renewal,
    Session,
    StoreError,
    Token,
    TokenKind,
    Tunnel,
    Verdict,
)
from tunnel_relay.store.sql import SqlStore
from tunnel_relay.store.tables import METADATA
from tunnel_relay.store.tasks import Task

NOW = 1_000_000.0
TUNNEL = Tunnel("office", "alice@example.com", NOW)


def a_code(tunnel: str = "office", *, expires: float = NOW + 3600) -> JoinCode:
    return JoinCode(token_digest(new_token(JOIN_PREFIX)), tunnel, NOW, expires)


def an_instance() -> Instance:
    return Instance(new_id(), "", PrivateKey.generate().public, 0, NOW, None, "host linux 0.1.0")


def a_session() -> Session:
    digest = token_digest(new_token(SESSION_PREFIX))
    return Session(
        new_id(), digest, "alice", "claude", "office", "git", NOW, NOW + 60, 30.0, last_used=NOW
    )


@asynccontextmanager
async def opened(path: Path) -> AsyncIterator[SqlStore]:
    store = await SqlStore.open(path)
    try:
        yield store
    finally:
        await store.close()


def write(path: Path, text: str, mode: int = 0o600) -> None:
    path.touch(mode)
    path.write_text(text)
    path.chmod(mode)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "relay.db"


async def joined(store: SqlStore) -> Instance:
    code = a_code()
    await store.add_tunnel(TUNNEL, code)
    instance = an_instance()
    assert await store.join(code.digest, NOW, instance) == (Joining.JOINED, "office")
    return replace(instance, tunnel="office")


async def test_what_was_written_is_there_after_a_restart(path: Path) -> None:
    session = a_session()
    async with opened(path) as store:
        instance = await joined(store)
        await store.add_session(session)
    async with opened(path) as store:
        assert await store.tunnels() == [TUNNEL]
        assert await store.tunnel("office") == TUNNEL
        assert await store.tunnel("other") is None
        assert await store.instances("office") == [instance]
        assert await store.instances() == [instance]
        assert await store.instance("office", instance.id) == instance
        assert await store.instance("other", instance.id) is None
        assert await store.sessions() == [session]


async def test_a_revocation_survives_the_death_of_the_process(path: Path) -> None:
    """The database file is copied while the store is open: what a crash would leave."""
    session = a_session()
    async with opened(path) as store:
        await joined(store)
        await store.add_session(session)
        assert await store.revoke_session(session.id, NOW + 1, "left")
        assert await store.revoke_session(session.id, NOW + 2, "again")
        assert not await store.revoke_session("none", NOW, "")
        crashed = path.with_name("crashed.db")
        for suffix in ("", "-wal"):
            source = path.with_name(path.name + suffix)
            copy = crashed.with_name(crashed.name + suffix)
            copy.touch(0o600)
            copy.write_bytes(source.read_bytes())
        async with opened(crashed) as after:
            [found] = await after.sessions()
            assert (found.revoked, found.reason) == (NOW + 1, "left")


async def test_only_the_owner_can_read_the_files(path: Path) -> None:
    async with opened(path) as store:
        await joined(store)
        modes = {each.name: stat.S_IMODE(each.stat().st_mode) for each in path.parent.iterdir()}
    assert modes == {"relay.db": 0o600, "relay.db-wal": 0o600, "relay.db-shm": 0o600}


async def test_a_file_others_can_read_is_refused(path: Path) -> None:
    write(path, "", 0o640)
    with pytest.raises(StoreError, match="0640"):
        await SqlStore.open(path)


async def test_what_is_not_a_database_is_a_store_error(path: Path) -> None:
    write(path, "not a database, not at all, but long enough to be looked at" * 20)
    with pytest.raises(StoreError):
        await SqlStore.open(path)
    with pytest.raises(StoreError):
        await SqlStore.open(path.parent / "no" / "such" / "folder.db")


async def test_a_database_of_a_newer_program_is_refused_and_unharmed(path: Path) -> None:
    async with opened(path) as store:
        await joined(store)
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
        connection.commit()
    with pytest.raises(StoreError, match="9999"):
        await SqlStore.open(path)


async def test_the_migrations_make_the_tables_the_code_uses(path: Path) -> None:
    async with opened(path):
        pass
    engine = create_engine(f"sqlite:///{path}")
    try:
        with engine.connect() as connection:
            context = MigrationContext.configure(connection)
            assert compare_metadata(context, METADATA) == []
    finally:
        engine.dispose()


async def test_two_processes_may_open_a_fresh_database_at_once(path: Path) -> None:
    stores = await asyncio.gather(*(SqlStore.open(path) for _ in range(4)))
    for store in stores:
        assert await store.tunnels() == []
        await store.close()


async def test_a_name_is_taken_once(path: Path) -> None:
    async with opened(path) as store:
        await joined(store)
        with pytest.raises(ExistsError):
            await store.add_tunnel(TUNNEL, a_code())


async def test_a_session_of_no_tunnel_is_refused(path: Path) -> None:
    async with opened(path) as store:
        with pytest.raises(StoreError):
            await store.add_session(a_session())


async def test_of_twenty_racers_exactly_one_joins(path: Path) -> None:
    code = a_code()
    async with opened(path) as one, opened(path) as two:
        await one.add_tunnel(TUNNEL, code)
        outcomes = await asyncio.gather(
            *((one, two)[n % 2].join(code.digest, NOW, an_instance()) for n in range(20))
        )
        assert sorted(outcome for outcome, _ in outcomes) == [Joining.JOINED] + [Joining.USED] * 19
        assert len(await one.instances("office")) == 1


async def test_codes_that_open_nothing(path: Path) -> None:
    async with opened(path) as store:
        code = a_code()
        await store.add_tunnel(TUNNEL, code)
        instance = an_instance()
        assert await store.join(a_code().digest, NOW, instance) == (Joining.UNKNOWN, "")
        assert await store.join(code.digest, code.expires, instance) == (Joining.EXPIRED, "")
        await store.set_disabled("office", True)
        assert await store.join(code.digest, NOW, instance) == (Joining.DISABLED, "")
        await store.set_disabled("office", False)
        assert await store.join(code.digest, NOW, instance) == (Joining.JOINED, "office")


async def test_a_taken_identifier_leaves_the_code_unused(path: Path) -> None:
    async with opened(path) as store:
        instance = await joined(store)
        code = a_code()
        await store.replace_join_code(code, drop_instances=False)
        with pytest.raises(ExistsError):
            await store.join(code.digest, NOW, replace(instance, public_key=bytes(32)))
        assert await store.instances("office") == [instance]
        assert (await store.join(code.digest, NOW, an_instance()))[0] is Joining.JOINED


async def test_a_new_join_code_replaces_the_unused_one(path: Path) -> None:
    first, second, third = a_code(), a_code(), a_code()
    async with opened(path) as store:
        await store.add_tunnel(TUNNEL, first)
        await store.replace_join_code(second, drop_instances=False)
        assert (await store.join(first.digest, NOW, an_instance()))[0] is Joining.UNKNOWN
        assert (await store.join(second.digest, NOW, an_instance()))[0] is Joining.JOINED
        await store.replace_join_code(third, drop_instances=True)
        assert await store.instances("office") == []
        assert (await store.join(second.digest, NOW, an_instance()))[0] is Joining.USED


async def test_a_counter_is_accepted_once_and_only_upwards(path: Path) -> None:
    async with opened(path) as store:
        instance = await joined(store)
        assert await store.admit("office", instance.id, 1) is Verdict.ADMITTED
        assert await store.admit("office", instance.id, 7) is Verdict.ADMITTED
        assert await store.admit("office", instance.id, 7) is Verdict.CLONED
        assert await store.admit("office", instance.id, 8) is Verdict.LOCKED
        [locked] = await store.instances("office")
        assert locked.counter == 7
        assert locked.locked
        assert "two machines" in locked.locked


async def test_who_is_not_admitted(path: Path) -> None:
    async with opened(path) as store:
        instance = await joined(store)
        assert await store.admit("office", new_id(), 1) is Verdict.UNKNOWN
        assert await store.admit("other", instance.id, 1) is Verdict.UNKNOWN
        await store.set_disabled("office", True)
        assert await store.admit("office", instance.id, 1) is Verdict.DISABLED
        await store.set_disabled("office", False)
        assert await store.admit("office", instance.id, 1) is Verdict.ADMITTED


async def test_of_two_clones_with_one_counter_only_one_gets_in(path: Path) -> None:
    async with opened(path) as one, opened(path) as two:
        instance = await joined(one)
        verdicts = await asyncio.gather(
            *((one, two)[n % 2].admit("office", instance.id, 1) for n in range(10))
        )
        assert verdicts.count(Verdict.ADMITTED) == 1
        assert verdicts.count(Verdict.CLONED) == 1
        assert verdicts.count(Verdict.LOCKED) == 8


async def test_last_use_only_moves_forward(path: Path) -> None:
    session = a_session()
    async with opened(path) as store:
        await joined(store)
        await store.add_session(session)
        await store.touch_sessions({})
        await store.touch_sessions({session.id: (NOW + 5, 2), "unknown": (NOW, 1)})
        await store.touch_sessions({session.id: (NOW + 1, 1)})
        assert (await store.sessions())[0].last_used == NOW + 5


async def test_sessions_long_ended_are_purged(path: Path) -> None:
    old, revoked, live = a_session(), a_session(), replace(a_session(), expires=NOW + 1000)
    async with opened(path) as store:
        await joined(store)
        for session in (old, replace(revoked, expires=NOW + 1000, revoked=NOW + 1), live):
            await store.add_session(session)
        assert await store.purge_sessions(NOW + 100) == 2
        assert [session.id for session in await store.sessions()] == [live.id]


async def test_deleting_a_tunnel_takes_everything_with_it(path: Path) -> None:
    async with opened(path) as store:
        await joined(store)
        await store.add_session(a_session())
        assert await store.delete_tunnel("office")
        assert not await store.delete_tunnel("office")
        assert not await store.set_disabled("office", True)
        assert await store.sessions() == []
        assert await store.instances() == []


async def test_a_store_that_broke_says_so_without_the_data(path: Path) -> None:
    session = a_session()
    async with opened(path) as store:
        with closing(sqlite3.connect(path)) as connection:
            connection.execute("DROP TABLE sessions")
        with pytest.raises(StoreError) as caught:
            await store.add_session(session)
    assert session.digest.hex() not in str(caught.value)
    assert "alice" not in str(caught.value)


def a_token(session: Session, kind: TokenKind, *, ends: float = 100.0) -> Token:
    return Token(token_digest(new_token(REFRESH_PREFIX)), session.id, kind, NOW, NOW + ends)


async def test_of_ten_racers_one_trades_a_refresh_token_in(path: Path) -> None:
    session = a_session()
    async with opened(path) as store:
        await joined(store)
        access, refresh = a_token(session, TokenKind.ACCESS), a_token(session, TokenKind.REFRESH)
        await store.add_session(session, [access, refresh])
        assert await store.tokens(NOW) == [access]
        assert await store.tokens(NOW + 100) == []
        assert await store.session_of(refresh.digest) == session.id
        assert await store.session_of(b"?" * 32) is None
        outcomes = []

        async def renew() -> None:
            new = [a_token(session, TokenKind.ACCESS), a_token(session, TokenKind.REFRESH)]
            outcomes.append(
                await store.renew(refresh.digest, session.agent, NOW + 1, new, lambda _: True)
            )

        async with anyio.create_task_group() as tasks:
            for _ in range(10):
                tasks.start_soon(renew)
        assert sorted(outcomes) == sorted(
            [(Renewal.RENEWED, session.id)] + [(Renewal.REPEATED, session.id)] * 9
        )
        assert len(await store.tokens(NOW)) == 2


async def test_a_refresh_token_is_good_for_its_own_agent_and_time(path: Path) -> None:
    session = a_session()
    async with opened(path) as store:
        await joined(store)
        access, refresh = a_token(session, TokenKind.ACCESS), a_token(session, TokenKind.REFRESH)
        await store.add_session(session, [access, refresh])
        for digest, agent, now, outcome in [
            (refresh.digest, "another", NOW, Renewal.UNKNOWN),
            (access.digest, session.agent, NOW, Renewal.UNKNOWN),
            (b"?" * 32, session.agent, NOW, Renewal.UNKNOWN),
            (refresh.digest, session.agent, NOW + 100, Renewal.EXPIRED),
        ]:
            assert (await store.renew(digest, agent, now, [], lambda _: True))[0] is outcome


async def test_tasks_are_kept_and_go_with_their_session(path: Path) -> None:
    first, second = a_session(), a_session()
    tasks = [
        Task(bytes([at]) * 32, session.id, NOW + at) for at, session in enumerate((first, second))
    ]
    stray = Task(b"x" * 32, new_id(), NOW)
    async with opened(path) as store:
        await store.add_tunnel(TUNNEL, a_code())
        for session in (first, second):
            await store.add_session(session)
        await store.keep_tasks([*tasks, stray], [])
    async with opened(path) as store:
        assert await store.tasks() == tasks
        moved = replace(tasks[0], session=second.id)
        await store.keep_tasks([moved], [])
        assert await store.tasks() == [moved, tasks[1]]
        await store.keep_tasks([], [moved.digest])
        await store.keep_tasks([], [])
        assert await store.tasks() == [tasks[1]]
        await store.revoke_session(second.id, NOW, "over")
        await store.purge_sessions(NOW + 1)
        assert await store.tasks() == []
