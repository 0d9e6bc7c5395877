"""Pins are shown as far as they can be read."""

import json
from pathlib import Path

import pytest

from shared.policy.classes import ToolClass
from tunnel_client.errors import UnsafeFileError
from tunnel_client.policy.known_tools import known_tools


def write(folder: Path, content: object) -> None:
    place = folder / "pins.json"
    place.write_text(content if isinstance(content, str) else json.dumps(content))
    place.chmod(0o600)


def test_every_pin_is_a_tool_with_its_class(tmp_path: Path) -> None:
    tools = {"get": {"class": "read", "sha256": "0"}, "odd": {"class": "x"}, "none": None}
    write(tmp_path, {"version": 1, "upstreams": {"crm": {"tools": tools}}})
    assert known_tools(tmp_path) == [
        ("crm", "get", ToolClass.READ),
        ("crm", "odd", None),
        ("crm", "none", None),
    ]


@pytest.mark.parametrize("content", ["", "{", "[]", {"upstreams": []}, {"upstreams": {"a": 1}}])
def test_what_is_no_pins_is_no_tools(tmp_path: Path, content: object) -> None:
    write(tmp_path, content)
    assert known_tools(tmp_path) == []


def test_without_a_file_there_are_none(tmp_path: Path) -> None:
    assert known_tools(tmp_path) == []


def test_a_file_others_may_change_is_refused(tmp_path: Path) -> None:
    write(tmp_path, {})
    (tmp_path / "pins.json").chmod(0o666)
    with pytest.raises(UnsafeFileError):
        known_tools(tmp_path)
