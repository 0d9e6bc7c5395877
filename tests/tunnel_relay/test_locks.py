"""What a lock is about, and for how long."""

from dataclasses import replace

import pytest

from shared.ids import SESSION_PREFIX, new_id, new_token
from tests.tunnel_relay.test_sessions import START, a_session
from tunnel_relay.locks import LockTable
from tunnel_relay.sessions import Refusal, SessionTable
from tunnel_relay.store.base import Lock, LockKind


def a_lock(kind: LockKind, subject: str, expires: float | None = None) -> Lock:
    return Lock(new_id(), kind, subject, "because", START, expires)


@pytest.mark.parametrize(
    ("kind", "subject", "hits"),
    [
        (LockKind.USER, "alice@example.com", True),
        (LockKind.USER, "alice@example.co", False),
        (LockKind.USER, "claude", False),
        (LockKind.AGENT, "claude", True),
        (LockKind.AGENT, "Claude", False),
        (LockKind.UPSTREAM, "office/git", True),
        (LockKind.UPSTREAM, "office/gi", False),
        (LockKind.UPSTREAM, "git", False),
        (LockKind.TUNNEL, "office", True),
        (LockKind.TUNNEL, "offic", False),
        (LockKind.KEY, "office", False),
    ],
)
def test_a_lock_hits_exactly_what_it_names(kind: LockKind, subject: str, hits: bool) -> None:
    table = LockTable([a_lock(kind, subject)])
    session = a_session(new_token(SESSION_PREFIX))
    assert table.locks_session(session, START) is hits


def test_a_locked_session_opens_nothing_and_works_again_once_it_is_lifted() -> None:
    token = new_token(SESSION_PREFIX)
    session = a_session(token)
    table = SessionTable([session])
    lock = a_lock(LockKind.USER, session.user)
    table.locks.put(lock)
    assert table.find(token, START) is None
    assert table.again(session, START) is None
    assert table.why(token, START) is Refusal.LOCKED
    assert table.state(session.id, START) is Refusal.LOCKED
    table.locks.drop(lock.id)
    assert table.find(token, START) is not None


def test_a_lock_lifts_itself_at_its_time_and_not_before() -> None:
    token = new_token(SESSION_PREFIX)
    table = SessionTable([a_session(token)])
    table.locks.put(a_lock(LockKind.AGENT, "claude", START + 10))
    assert table.find(token, START + 9.999) is None
    assert table.find(token, START + 10) is not None
    assert table.locks.holding(START + 10) == []


def test_the_longest_of_several_locks_counts() -> None:
    session = a_session(new_token(SESSION_PREFIX))
    short, never = (
        a_lock(LockKind.USER, session.user, START + 1),
        a_lock(LockKind.USER, session.user),
    )
    table = LockTable([short, never])
    assert table.locks_session(session, START + 5)
    table.drop(never.id)
    assert not table.locks_session(session, START + 5)
    assert table.locks_session(session, START)
    table.drop(short.id)
    assert not table.locks_session(session, START)


def test_a_locked_session_is_not_used_while_it_is_refused() -> None:
    token = new_token(SESSION_PREFIX)
    table = SessionTable([replace(a_session(token), idle=30.0)])
    table.locks.put(a_lock(LockKind.USER, "alice@example.com", START + 25))
    assert table.find(token, START + 20) is None
    assert table.state(table.all()[0].id, START + 31) is Refusal.IDLE


def test_locks_on_links_are_on_tunnels_and_keys() -> None:
    table = LockTable(
        [a_lock(LockKind.TUNNEL, "office"), a_lock(LockKind.KEY, "a" * 32, START + 1)]
    )
    assert table.locks_link("office", "b" * 32, START)
    assert table.locks_link("home", "a" * 32, START)
    assert not table.locks_link("home", "a" * 32, START + 1)
    assert not table.locks_link("home", "b" * 32, START)


def test_a_subject_is_held_as_long_as_its_lock() -> None:
    table = LockTable([a_lock(LockKind.USER, "ada", START + 100)])
    assert table.holds(LockKind.USER, "ada", START + 99)
    assert not table.holds(LockKind.USER, "ada", START + 100)
    assert not table.holds(LockKind.AGENT, "ada", START)
