"""A tool that changed stays blocked until a person pins it again, whatever happens meanwhile."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from shared.policy.classes import ToolClass
from tests.tunnel_client.catalog.test_catalog import (
    ADD,
    DROP,
    EVIL,
    Pinner,
    catalog,
    item,
    listing,
    state,
)
from tests.tunnel_client.catalog.test_catalog import pin as pin
from tunnel_client.catalog.catalog import Catalog, State
from tunnel_client.catalog.definitions import Kind
from tunnel_client.catalog.marks import read_marks
from tunnel_client.catalog.pins import FILE_NAME, Pins, editing


def classify(folder: Path, tool: str, tool_class: ToolClass) -> None:
    """Give another class, as the command does: by somebody else, at the time of the approval."""
    with editing(folder) as table:
        key = ("desk", Kind.TOOL, tool)
        table[key] = replace(table[key], tool_class=tool_class, by="lee")


def test_another_class_is_no_approval_of_a_tool_that_changed(tmp_path: Path, pin: Pinner) -> None:
    """P13."""
    pin(ADD, DROP)
    made = catalog(tmp_path)
    made.learn("desk", listing(EVIL, DROP))
    for back in (EVIL, ADD):
        classify(tmp_path, "add", ToolClass.ADMIN if back is EVIL else ToolClass.READ)
        classify(tmp_path, "drop", ToolClass.ADMIN)
        assert made.refresh_pins()
        assert made.callable("desk", "add") is None
        assert state(made, "add") is State.CHANGED
        made.learn("desk", listing(back, DROP))
    drop = made.callable("desk", "drop")
    assert drop is not None
    assert drop.tool_class is ToolClass.ADMIN
    assert (made.callable("desk", "add"), state(made, "add")) == (None, State.CHANGED)
    pin(ADD)
    made.refresh_pins()
    assert state(made, "add") is State.PINNED


@pytest.mark.parametrize("shown", [(), (ADD,), (EVIL,)], ids=["nothing", "as pinned", "another"])
def test_a_restart_forgets_no_tool_that_changed(
    tmp_path: Path, pin: Pinner, shown: tuple[dict[str, Any], ...]
) -> None:
    """P13: a server that went back is looked at by a person, however often the client starts."""
    pin(ADD, DROP)
    catalog(tmp_path).learn("desk", listing(EVIL, DROP))
    for _ in range(2):
        made = catalog(tmp_path)
        if shown:
            made.learn("desk", listing(*shown, DROP))
        classify(tmp_path, "add", ToolClass.ADMIN)
        made.refresh_pins()
        assert made.callable("desk", "add") is None
        assert state(made, "add") is State.CHANGED
        assert made.filter_tools("desk", [ADD, DROP]) == [DROP]
        assert made.status("desk")["changed_tools"] == ["add"]
    pin(ADD)
    assert catalog(tmp_path).callable("desk", "add") is not None  # the mark is of another approval
    made.refresh_pins()
    assert made.callable("desk", "add") is not None
    assert read_marks(tmp_path) == {}
    assert catalog(tmp_path).callable("desk", "add") is not None


def test_what_passed_by_is_remembered_too(tmp_path: Path, pin: Pinner) -> None:
    """P14."""
    pin(ADD)
    catalog(tmp_path).filter_tools("desk", [EVIL])
    assert catalog(tmp_path).callable("desk", "add") is None


def test_a_mark_outlives_an_upstream_that_is_left_out_and_pins_that_are_away(
    tmp_path: Path, pin: Pinner
) -> None:
    pin(ADD, DROP)
    catalog(tmp_path).learn("desk", listing(EVIL))
    without = Catalog(Pins(tmp_path), ["mail"])
    pin(EVIL, upstream="mail")
    without.refresh_pins()
    without.learn("mail", listing(ADD))
    assert set(read_marks(tmp_path)) == {("desk", "add"), ("mail", "add")}
    made, away = catalog(tmp_path), tmp_path / "away"
    (tmp_path / FILE_NAME).rename(away)
    made.refresh_pins()
    assert state(made, "add") is None
    away.rename(tmp_path / FILE_NAME)
    made.refresh_pins()
    assert state(made, "add") is State.CHANGED
    assert made.callable("desk", "add") is None
    assert made.callable("desk", "drop") is not None


def test_what_was_seen_before_an_approval_is_past_and_looked_for_anew(
    tmp_path: Path, pin: Pinner
) -> None:
    pin(ADD)
    made = catalog(tmp_path)
    asked: list[str] = []
    made.wanted = asked.append
    made.learn("desk", listing(EVIL))
    pin(ADD)
    made.refresh_pins()
    assert asked == ["desk"]
    # What is told beside `pinned` is what was pinned.
    found = made.state("desk", "add")
    assert found is not None
    assert (found.state, found.sha256, found.flags) == (State.PINNED, item(ADD).sha256, ())
    made.learn("desk", listing(EVIL))
    assert made.callable("desk", "add") is None
    pin(EVIL)
    made.refresh_pins()
    assert asked == ["desk"]
