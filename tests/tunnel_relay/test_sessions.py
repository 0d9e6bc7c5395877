"""What a token opens, and until when."""

import math
import threading
from collections import Counter
from dataclasses import replace

import pytest

from shared.ids import SESSION_PREFIX, fingerprint, is_token, new_id, new_token, token_digest
from tunnel_relay.sessions import KEEP_TOLD_SECONDS, Refusal, SessionTable
from tunnel_relay.store.base import Session, Token, TokenKind

START = 1_000_000.0


def a_session(token: str, *, ttl: float = 100.0, idle: float = 30.0) -> Session:
    return Session(
        id=new_id(),
        digest=token_digest(token),
        user="alice@example.com",
        agent="claude",
        tunnel="office",
        upstream="git",
        created=START,
        expires=START + ttl,
        idle=idle,
        last_used=START,
    )


@pytest.fixture
def token() -> str:
    return new_token(SESSION_PREFIX)


def test_a_token_finds_its_session_and_no_other(token: str) -> None:
    session = a_session(token)
    table = SessionTable([session, a_session(new_token(SESSION_PREFIX))])
    assert table.find(token, START) == session
    assert table.why(token, START) is None


@pytest.mark.parametrize("text", ["", "mts_", "mts_" + "A" * 43, "\ud800", "é" * 50, "\0"])
def test_anything_else_finds_nothing(text: str, token: str) -> None:
    table = SessionTable([a_session(token)])
    assert table.find(text, START) is None
    assert table.why(text, START) is Refusal.UNKNOWN


def test_the_stored_digest_opens_nothing(token: str) -> None:
    session = a_session(token)
    table = SessionTable([session])
    for stolen in (session.digest.hex(), session.digest.decode("latin-1"), session.id):
        assert table.find(stolen, START) is None
        assert table.find("mts_" + stolen, START) is None
    assert table.find(fingerprint(session.digest), START) is None


def test_idle_time_ends_a_session_at_the_very_second(token: str) -> None:
    table = SessionTable([a_session(token, idle=30)])
    assert table.find(token, START + 29.9)
    assert table.find(token, START + 59.8)
    assert table.find(token, START + 59.8 + 30) is None
    assert table.why(token, START + 59.8 + 30) is Refusal.IDLE


def test_constant_use_does_not_outlive_the_absolute_end(token: str) -> None:
    table = SessionTable([a_session(token, ttl=100, idle=30)])
    for second in range(100):
        assert table.find(token, START + second)
    assert table.find(token, START + 100) is None
    assert table.why(token, START + 100) is Refusal.EXPIRED


def test_a_clock_set_back_revives_nothing(token: str) -> None:
    other = new_token(SESSION_PREFIX)
    table = SessionTable([a_session(token, ttl=100), a_session(other, ttl=10_000, idle=10_000)])
    assert table.find(other, START + 200)
    assert table.find(token, START + 1) is None
    assert table.why(token, START + 1) is Refusal.EXPIRED
    assert table.find(other, START - 50_000)
    assert table.find(other, START + 10_000) is None


def test_after_revoke_nothing_is_found_and_nothing_undoes_it(token: str) -> None:
    session = a_session(token)
    table = SessionTable([session])
    revoked = table.revoke(session.id, START + 1, "left the company")
    assert revoked
    assert revoked.reason == "left the company"
    assert table.find(token, START + 2) is None
    assert table.why(token, START + 2) is Refusal.REVOKED
    table.put(session)
    assert table.find(token, START + 2) is None
    again = table.revoke(session.id, START + 3, "second")
    assert again
    assert (again.revoked, again.reason) == (START + 1, "left the company")
    assert table.revoke("no such", START, "") is None


def test_a_session_revoked_in_the_store_is_dead_from_the_start(token: str) -> None:
    table = SessionTable([replace(a_session(token), revoked=START)])
    assert table.find(token, START) is None


def test_uses_are_written_back_once(token: str) -> None:
    session = a_session(token)
    table = SessionTable([session, a_session(new_token(SESSION_PREFIX))])
    assert table.dirty() == {}
    table.find(token, START + 5)
    assert table.dirty() == {session.id: (START + 5, 1)}
    table.mark_stored({session.id: (START + 5, 1), "gone": (START, 1)})
    assert table.dirty() == {}
    assert table.all()[0].last_used == START + 5


def test_the_sessions_of_a_blocked_tunnel_rest(token: str) -> None:
    table = SessionTable([a_session(token)])
    table.block(["office"])
    assert table.find(token, START) is None
    assert table.why(token, START) is Refusal.DISABLED
    table.block([])
    assert table.find(token, START)


def test_dropping_a_tunnel_forgets_its_sessions_only(token: str) -> None:
    session = a_session(token)
    other = new_token(SESSION_PREFIX)
    table = SessionTable([session, replace(a_session(other), tunnel="home")])
    assert table.drop_tunnel("office") == [session]
    assert table.find(token, START) is None
    assert table.find(other, START)


def test_tokens_are_unique_and_show_no_bias() -> None:
    """The 43 characters carry 256 bits, so the last one carries only four: it is left out."""
    tokens = [new_token(SESSION_PREFIX) for _ in range(100_000)]
    assert len(set(tokens)) == len(tokens)
    assert all(is_token(each) for each in tokens[:1000])
    for position in range(4, 46):
        counts = Counter(each[position] for each in tokens)
        assert len(counts) == 64
        # Chi-square with 63 degrees of freedom: above 160 is less likely than one in 10^9.
        expected = len(tokens) / 64
        assert sum((n - expected) ** 2 / expected for n in counts.values()) < 160


def test_no_use_succeeds_after_a_revoke_was_acknowledged(token: str) -> None:
    """200 threads use the session while it is revoked."""
    session = a_session(token)
    table = SessionTable([session])
    revoked = threading.Event()
    start = threading.Barrier(201)
    late: list[Session] = []

    def use() -> None:
        start.wait(30)
        for _ in range(50):
            acknowledged = revoked.is_set()
            found = table.find(token, START + 1)
            if acknowledged and found:
                late.append(found)

    threads = [threading.Thread(target=use) for _ in range(200)]
    for thread in threads:
        thread.start()
    start.wait(30)
    table.revoke(session.id, START + 1, "race")
    revoked.set()
    for thread in threads:
        thread.join(30)
    assert late == []
    assert table.find(token, START + 1) is None


def test_what_ended_by_time_is_told_once_and_why(token: str) -> None:
    idle, expired = a_session(token, ttl=100, idle=30), a_session("b", ttl=20, idle=20)
    revoked, used = a_session("c", ttl=10), a_session("d", ttl=100, idle=30)
    table = SessionTable([idle, expired, revoked, used])
    table.revoke(revoked.id, START + 1, "x")
    assert table.over(START + 19.9) == []
    assert [(each.id, why) for each, why in table.over(START + 20)] == [
        (expired.id, Refusal.EXPIRED)
    ]
    table.keep_in_use(used.id, START + 25)
    assert [(each.id, why) for each, why in table.over(START + 31)] == [(idle.id, Refusal.IDLE)]
    assert [each.id for each, _ in table.over(START + 55)] == [used.id]
    assert table.over(START + 1000) == []


def test_a_call_that_runs_keeps_its_session_from_being_idle_and_not_from_its_end(
    token: str,
) -> None:
    session = a_session(token, ttl=100, idle=30)
    table = SessionTable([session])
    for second in range(0, 100, 10):
        table.keep_in_use(session.id, START + second)
    assert table.state(session.id, START + 99) is None
    table.keep_in_use(session.id, START + 100)
    assert table.state(session.id, START + 100) is Refusal.EXPIRED
    # One that ended is not revived by a call that still runs.
    other = a_session("x", ttl=100, idle=30)
    table = SessionTable([other])
    assert table.state(other.id, START + 30) is Refusal.IDLE
    table.keep_in_use(other.id, START + 31)
    assert table.state(other.id, START + 31) is Refusal.IDLE


def test_s16_the_latest_time_seen_is_what_counts_at_a_restart_too(token: str) -> None:
    table = SessionTable([a_session(token, ttl=100, idle=100)])
    assert table.reach(START + 200) == START + 200
    assert table.reach(START) == START + 200
    assert table.mark == START + 200
    assert table.find(token, START) is None
    assert table.why(token, START) is Refusal.EXPIRED


def test_a_client_that_was_away_is_told_what_ended(token: str) -> None:
    expired, revoked = a_session(token, ttl=10, idle=10), a_session("b")
    live, elsewhere = a_session("c"), replace(a_session("d", ttl=1), tunnel="home")
    table = SessionTable([expired, revoked, live, elsewhere])
    table.revoke(revoked.id, START + 5, "x")
    assert table.ended_in("office", START - 100, START + 20) == [revoked.id]
    assert [each.id for each, _ in table.over(START + 20)] == [elsewhere.id, expired.id]
    told = table.ended_in("office", START - 100, START + 20)
    assert sorted(told) == sorted([expired.id, revoked.id])
    assert table.ended_in("office", START + 15, START + 20) == []


def test_sessions_are_looked_through_without_being_used(token: str) -> None:
    first, second = a_session(token), a_session(new_token(SESSION_PREFIX))
    table = SessionTable([first, second])
    assert table.newest_first() == [second.id, first.id]
    table.revoke(first.id, START, "gone")
    looked = dict(table.look([first.id, "unknown", second.id], START))
    assert [each.id for each in looked] == [first.id, second.id]
    assert list(looked.values()) == [Refusal.REVOKED, None]
    assert table.dirty() == {}
    assert [each.id for each in table.starting(first.id[:12])] == [first.id]
    assert table.starting(first.id[:12], "bob") == []
    assert len(table.starting("", first.user)) == 2


@pytest.mark.parametrize("kind", TokenKind)
def test_an_access_token_opens_its_session_until_it_ends_and_a_refresh_token_never(
    token: str, kind: TokenKind
) -> None:
    session = a_session(new_token(SESSION_PREFIX))
    table = SessionTable([session])
    table.add_token(Token(token_digest(token), session.id, kind, START, START + 10))
    assert (table.find(token, START + 9) is not None) is (kind is TokenKind.ACCESS)
    assert table.find(token, START + 10) is None


def test_a_restart_does_not_end_again_what_ended_before_it(token: str) -> None:
    """D16: a day's worth of ended sessions is no burst of work at a start."""
    long_over, lately, live = a_session("a", ttl=10), a_session("b", ttl=90), a_session(token)
    later = START + KEEP_TOLD_SECONDS + 20
    table = SessionTable()
    table.reach(later)
    for session in (
        long_over,
        replace(lately, idle=1e9, expires=later - 1),
        replace(live, idle=1e9, expires=later + 1),
    ):
        table.put(session)
    assert table.over(later) == []
    # A client that was away at the start is told all the same, of what it can still hold.
    assert table.ended_in("office", later - KEEP_TOLD_SECONDS, later) == [lately.id]
    assert [each.id for each, _ in table.over(later + 1)] == [live.id]


def test_what_ended_together_is_told_in_pieces_and_each_once() -> None:
    sessions = [a_session(str(number), ttl=10) for number in range(25)]
    table = SessionTable(sessions)
    pieces = [[each.id for each, _ in table.over(START + 10, most=10)] for _ in range(4)]
    assert [len(piece) for piece in pieces] == [10, 10, 5, 0]
    assert {one for piece in pieces for one in piece} == {each.id for each in sessions}


def test_d16_what_ended_long_ago_leaves_no_trace_in_memory() -> None:
    table = SessionTable()
    for number in range(300):
        session = replace(a_session(str(number), ttl=10), user=f"user{number}")
        table.put(session)
        table.add_token(
            Token(token_digest(f"t{number}"), session.id, TokenKind.ACCESS, START, START + 10)
        )
        if number % 2:
            table.revoke(session.id, START + 5, "x")
    kept = a_session("kept", ttl=10_000, idle=10_000)
    table.put(kept)
    table.over(START + 10)
    assert table.forget(table.newest_first(), START + 5) == 0
    table.forget_tokens(START + 10)
    assert table.forget(table.newest_first(), START + 11) == 300
    assert [each.id for each in table.all()] == [kept.id]
    assert table.ended_in("office", START, START + KEEP_TOLD_SECONDS * 3) == []
    assert not table._tokens
    assert list(table._by_user) == [kept.user]
    assert set(table._by_digest) == {kept.digest}
    assert len(table._due) == 1


def test_threads_that_create_use_and_revoke_never_see_a_use_after_a_revoke() -> None:
    """200 threads, each with sessions of its own and those of all others."""
    table = SessionTable()
    made: list[tuple[str, Session]] = []
    over: set[str] = set()
    late: list[str] = []
    start = threading.Barrier(200)

    def race(number: int) -> None:
        start.wait(30)
        for turn in range(20):
            token = f"{number}-{turn}"
            session = a_session(token)
            table.put(session)
            made.append((token, session))
            assert table.find(token, START + 1) is not None
            for other, theirs in (made[-1], made[turn]):
                acknowledged = theirs.id in over
                found = table.find(other, START + 1) or table.again(theirs, START + 1)
                if acknowledged and found is not None:
                    late.append(theirs.id)
            table.revoke(session.id, START + 1, "race")
            over.add(session.id)
            if table.find(token, START + 1) or table.again(session, START + 1):
                late.append(session.id)

    threads = [threading.Thread(target=race, args=(number,)) for number in range(200)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert late == []
    assert len(over) == 4000
    assert all(table.why(token, START + 1) is Refusal.REVOKED for token, _ in made)


@pytest.mark.parametrize("way", ["find", "again", "state"])
def test_s05_a_session_ends_at_its_very_second_however_it_is_asked_for(
    token: str, way: str
) -> None:
    session = replace(a_session(token, idle=1e9), expires=START + 0.1)
    table = SessionTable([session])

    def lives(now: float) -> bool:
        if way == "state":
            return table.state(session.id, now) is None
        found = table.find(token, now) if way == "find" else table.again(session, now)
        return found is not None

    assert lives(math.nextafter(session.expires, 0))
    assert not lives(session.expires)
    assert [why for _, why in table.over(session.expires)] == [Refusal.EXPIRED]


def test_going_through_all_sessions_copies_none(token: str) -> None:
    """A lock looks at 100,000 of them while every call waits."""
    first, second = a_session(token), a_session(new_token(SESSION_PREFIX))
    table = SessionTable([first, second])
    table.find(token, START + 1)
    assert [id(each) for each in table.each()] == [id(first), id(second)]
    assert [id(each) for each in table.each_of_user(first.user)] == [id(second), id(first)]
    table.revoke(first.id, START + 2, "a test")
    assert next(table.each()).revoked == START + 2


def test_an_access_token_is_taken_back_until_it_was_used(token: str) -> None:
    session = a_session(new_token(SESSION_PREFIX))
    table = SessionTable([session])
    access = Token(token_digest(token), session.id, TokenKind.ACCESS, START, START + 10)
    table.add_token(access)
    assert table.why(token, START) is None  # which is no use of it
    assert table.take_back(access.digest)
    assert table.find(token, START) is None
    table.add_token(access)
    assert table.find(token, START)
    assert not table.take_back(access.digest)
    assert table.find(token, START)
