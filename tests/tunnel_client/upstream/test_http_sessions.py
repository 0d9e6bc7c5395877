"""The table of MCP sessions keeps them apart, bounded and never evicts one in use."""

import pytest

from tunnel_client.upstream.base import UpstreamRequest
from tunnel_client.upstream.http_sessions import (
    Farewell,
    Farewells,
    McpSession,
    McpSessions,
    is_mcp_session_id,
)


@pytest.mark.parametrize(
    ("value", "fits"),
    [
        (b"U-1", True),
        (b"~!", True),
        (b"", False),
        (b"a b", False),
        (b"\xc3\xa4", False),
        (b"a" * 1025, False),
    ],
)
def test_only_visible_ascii_names_an_mcp_session(value: bytes, fits: bool) -> None:
    assert is_mcp_session_id(value) is fits


def test_an_mcp_session_is_found_by_the_session_that_began_it_and_by_no_other() -> None:
    table = McpSessions(10, 60)
    added = table.remember("r1", "alice", b"U1", 0)
    assert table.find("r1", "alice", 0) is added
    assert table.find("r1", "mallory", 0) is None
    assert table.find("r2", "alice", 0) is None


def test_a_full_table_refuses_new_ones_and_forgets_no_old_one() -> None:
    table = McpSessions(2, 60)
    assert table.remember("r1", "a", b"U1", 0)
    assert table.remember("r2", "b", b"U2", 0)
    assert table.full
    assert table.remember("r3", "c", b"U3", 1) is None
    assert table.find("r1", "a", 1)
    assert table.find("r2", "b", 1)


def test_an_id_that_is_taken_is_not_given_away() -> None:
    table = McpSessions(10, 60)
    table.remember("r1", "alice", b"U1", 0)
    assert table.remember("r1", "mallory", b"U2", 0) is None
    found = table.find("r1", "alice", 0)
    assert found is not None
    assert found.upstream_id == b"U1"


def test_ending_a_session_forgets_its_own_mcp_sessions_only() -> None:
    table = McpSessions(10, 60)
    table.remember("r1", "a", b"U1", 0)
    table.remember("r2", "b", b"U2", 0)
    table.remember("r3", "a", b"U3", 0)
    assert {gone.upstream_id for gone in table.forget_session("a")} == {b"U1", b"U3"}
    assert table.forget_session("a") == []
    assert len(table) == 1
    assert table.find("r2", "b", 0)


def test_what_is_unused_for_the_idle_time_is_forgotten_oldest_first() -> None:
    table = McpSessions(10, 60)
    for n in range(4):
        table.remember(f"r{n}", "a", b"U%d" % n, float(n))
    table.find("r0", "a", 30)
    assert [gone.id for gone in table.forget_idle(62)] == ["r1", "r2"]
    assert [gone.id for gone in table.forget_idle(63)] == ["r3"]
    assert [gone.id for gone in table.forget_idle(90)] == ["r0"]
    assert table.forget_idle(1000) == []


def test_an_open_exchange_keeps_an_mcp_session() -> None:
    table = McpSessions(10, 60)
    added = table.remember("r1", "a", b"U1", 0)
    assert added is not None
    added.exchanges = 1
    assert table.forget_idle(100) == []
    added.exchanges = 0
    assert table.forget_idle(159) == []
    assert table.forget_idle(160) == [added]


def test_forgetting_twice_does_no_harm() -> None:
    table = McpSessions(10, 60)
    added = table.remember("r1", "a", b"U1", 0)
    assert added is not None
    table.forget(added)
    again = table.remember("r1", "a", b"U2", 0)
    table.forget(added)
    assert table.find("r1", "a", 0) is again


def test_farewells_are_said_a_few_at_a_time_and_each_once() -> None:
    sent: list[tuple[UpstreamRequest, bytes, Farewell]] = []
    farewells = Farewells(lambda *what: sent.append(what), 100)
    for n in range(20):
        farewells.say(McpSession(f"r{n}", "a", b"U%d" % n, 0))
    assert len(sent) == 8
    assert {request.method for request, _, _ in sent} == {"DELETE"}
    for n in range(20):
        reply = sent[n][2]
        if n % 2:
            reply.head(200, [], end=True)
            reply.head(200, [], end=True)
        else:
            reply.head(200, [])
            assert reply.data(b"x")
            reply.data(b"x", end=True)
    assert [named for _, named, _ in sent] == [b"U%d" % n for n in range(20)]


def test_more_farewells_than_the_limit_are_left_unsaid() -> None:
    sent: list[bytes] = []
    farewells = Farewells(lambda request, named, reply: sent.append(named), 5)
    for n in range(100):
        farewells.say(McpSession(f"r{n}", "a", b"U%d" % n, 0))
    assert len(sent) == 8
    farewells.stop()
    farewells.one_is_through()
    assert len(sent) == 8
