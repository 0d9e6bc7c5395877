"""Whose MCP tasks are whose (row S21)."""

from dataclasses import replace

from shared.ids import new_id
from tunnel_relay.store.base import Session
from tunnel_relay.store.tasks import Task
from tunnel_relay.tasks import TaskTable, task_digest

NOW = 1000.0


def a_session(user: str = "ada", agent: str = "claude", upstream: str = "git") -> Session:
    made = new_id()
    return Session(made, made.encode(), user, agent, "lab", upstream, NOW, NOW + 60, 60.0, NOW)


def test_s21_a_task_is_that_of_the_user_agent_and_server_that_began_it() -> None:
    table, mine = TaskTable(), a_session()
    table.begin(mine, "t-1", NOW)
    assert table.owns(mine, "t-1")
    assert table.owns(a_session(), "t-1"), "another session of the same three"
    for stranger in (a_session("eve"), a_session(agent="other"), a_session(upstream="wiki")):
        assert not table.owns(stranger, "t-1")
    assert not table.owns(mine, "t-2")


def test_an_id_that_a_server_gives_out_again_changes_hands() -> None:
    table, mine, theirs = TaskTable(), a_session(), a_session("eve")
    table.begin(mine, "1", NOW)
    table.begin(theirs, "1", NOW)
    assert (table.owns(mine, "1"), table.owns(theirs, "1")) == (False, True)
    assert len(table) == 1


def test_the_same_id_of_two_servers_is_two_tasks() -> None:
    table, git, wiki = TaskTable(), a_session(), a_session(upstream="wiki")
    table.begin(git, "1", NOW)
    table.begin(wiki, "1", NOW)
    assert table.owns(git, "1")
    assert table.owns(wiki, "1")


def test_the_oldest_of_too_many_is_forgotten_also_by_the_store() -> None:
    table, mine = TaskTable(most=2), a_session()
    for task in ("1", "2"):
        table.begin(mine, task, NOW)
    table.mark_stored(*table.unstored())
    for task in ("3", "4", "5"):
        table.begin(mine, task, NOW)
    assert [table.owns(mine, task) for task in "12345"] == [False, False, False, True, True]
    new, gone = table.unstored()
    assert {task.digest for task in new} == {task_digest(mine.place, task) for task in "45"}
    assert {task_digest(mine.place, task) for task in "12"} <= set(gone)


def test_what_changes_while_it_is_stored_is_stored_again() -> None:
    table, mine = TaskTable(), a_session()
    table.begin(mine, "1", NOW)
    storing = table.unstored()
    table.begin(mine, "1", NOW + 1)
    table.mark_stored(*storing)
    assert [task.created for task in table.unstored()[0]] == [NOW + 1]


def test_what_the_store_has_is_bound_again_after_a_restart() -> None:
    table, mine = TaskTable(), a_session()
    table.put(Task(task_digest(mine.place, "1"), mine.id, NOW), mine)
    assert table.owns(mine, "1")
    assert table.unstored() == ([], [])


def test_a_task_goes_with_the_session_that_began_it() -> None:
    table, mine = TaskTable(), a_session()
    later = replace(mine, id=new_id())
    table.begin(mine, "1", NOW)
    table.begin(later, "2", NOW)
    table.drop_orphans(table.digests(), lambda session: session == later.id)
    assert not table.owns(mine, "1")
    assert table.owns(later, "2")


def test_an_id_may_hold_anything() -> None:
    table, mine = TaskTable(), a_session()
    for task in ("", "\0", "\ud800", "x" * 100_000):
        table.begin(mine, task, NOW)
        assert table.owns(mine, task)
