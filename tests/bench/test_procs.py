"""Accounting for processes: what /proc says, whole trees, and nothing left behind."""

import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from bench.procs import Group, Stat, descendants, free_port, parse_busy, parse_stat, wait_port

LINE = (
    "77 (a (strange) name) S 42 77 77 0 -1 4194560 100 0 0 0 "
    "11 7 5 3 20 0 1 0 123456 1000 100 18446744073709551615"
)


def test_a_stat_line_counts_waited_for_children_and_survives_parentheses_in_the_name() -> None:
    assert parse_stat(LINE) == Stat(parent=42, ticks=11 + 7 + 5 + 3, started=123456)


@pytest.mark.parametrize("text", ["", "77", "77 (x)", "77 (x) S 1 2 3", "77 (x) S one" + " 0" * 30])
def test_what_is_no_stat_line_is_refused(text: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011  the message is int()'s or ours
        parse_stat(text)


def test_busy_time_leaves_out_idle_and_waiting_for_disks() -> None:
    assert parse_busy("cpu 100 20 30 4000 500 6 7 8 0 0\ncpu0 1 2 3") == 100 + 20 + 30 + 6 + 7 + 8


def test_text_without_a_cpu_line_is_refused() -> None:
    with pytest.raises(ValueError, match="/proc/stat"):
        parse_busy("intr 1 2 3")


def test_a_tree_is_its_roots_and_all_below_but_no_neighbour() -> None:
    parents = {1: 0, 10: 1, 11: 10, 12: 11, 20: 1, 21: 20}
    assert sorted(descendants(parents, [10])) == [10, 11, 12]


def test_a_root_that_has_ended_has_no_tree() -> None:
    assert descendants({1: 0}, [99]) == []


def test_this_process_is_accounted_for() -> None:
    stat = parse_stat(Path("/proc/self/stat").read_text())
    assert stat.parent == os.getppid()


def gone(pid: int) -> bool:
    """Ended, though perhaps not yet waited for by whoever inherited it."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


def eventually(what: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not what():
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.mark.system
def test_a_group_ends_what_it_started_and_what_left_the_process_group(tmp_path: Path) -> None:
    child = "import time; time.sleep(60)"
    parent = (
        "import subprocess, sys;"
        f"subprocess.Popen([sys.executable, '-c', {child!r}], start_new_session=True).wait()"
    )
    with Group(tmp_path) as group:
        group.start("parent", [sys.executable, "-c", parent])
        eventually(lambda: len(group.stats()) == 2)
        pids = set(group.stats())
    eventually(lambda: all(gone(pid) for pid in pids))


@pytest.mark.system
def test_waiting_for_a_program_that_ended_says_which_and_how(tmp_path: Path) -> None:
    with Group(tmp_path) as group:
        group.start("broken", [sys.executable, "-c", "print('no'); raise SystemExit(3)"])
        with pytest.raises(RuntimeError, match="broken ended with 3: no"):
            wait_port(free_port(), group)
