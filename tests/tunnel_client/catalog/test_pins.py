"""pins.json: what was written is read; what is broken is refused and never taken for empty."""

import json
import os
import threading
from pathlib import Path
from typing import Any

import pytest

from shared.policy.classes import ToolClass
from tests.tunnel_client.catalog.broken import BROKEN, put
from tunnel_client.catalog.definitions import Kind, item_of
from tunnel_client.catalog.pins import FILE_NAME, Pin, Pins, editing, read_pins
from tunnel_client.errors import StateWriteError, UnsafeFileError
from tunnel_client.errors_upstreams import BrokenPinsError

ITEM = item_of(Kind.TOOL, {"name": "t", "description": "Zürich"})
assert ITEM is not None
PIN = Pin("t", ITEM.sha256, ToolClass.READ, ITEM.definition, 1, "kim")
KEY = ("desk", Kind.TOOL, "t")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    with editing(tmp_path / "state") as table:
        table[KEY] = PIN
        table["desk", Kind.PROMPT, "p"] = Pin("p", PIN.sha256, None, PIN.definition, 1, "kim")
    return tmp_path / "state"


def test_what_was_pinned_is_read_back_from_a_private_file(folder: Path) -> None:
    pins = Pins(folder)
    assert pins.get(*KEY) == PIN
    assert pins.get("desk", Kind.TOOL, "u") is None
    assert pins.of("desk", Kind.TOOL) == {"t": PIN}
    assert (folder / FILE_NAME).stat().st_mode & 0o777 == 0o600
    assert json.loads((folder / FILE_NAME).read_text())["version"] == 1


def test_nothing_was_pinned_before_the_first_pin(tmp_path: Path) -> None:
    assert read_pins(tmp_path) == {}


def mangled(change: dict[str, Any]) -> dict[str, Any]:
    good = {"sha256": PIN.sha256, "class": "read", "definition": PIN.definition}
    entry = good | {"pinned": 1, "by": "kim"} | change
    entry = {key: value for key, value in entry.items() if value is not ...}
    return {"version": 1, "upstreams": {"desk": {"tools": {"t": entry}}}}


@pytest.mark.parametrize(
    ("content", "why"),
    [
        *BROKEN,
        ({"version": 1, "upstreams": {"desk": {"toys": {}}}}, "unknown kind"),
        ({"version": 1, "upstreams": {"desk": {"tools": {"t": 7}}}}, "not a pin"),
        (mangled({"more": 1}), "not a pin"),
        (mangled({"sha256": "x"}), "64 hex digits"),
        (mangled({"sha256": "0" * 64}), "not that of the definition"),
        (mangled({"definition": "{}"}), "not that of the definition"),
        (mangled({"class": "harmless"}), "class is none of"),
        (mangled({"class": ...}), "a tool has a class"),
        (mangled({"pinned": "today"}), "pinned or by"),
    ],
)
def test_a_broken_file_is_refused_with_its_name_and_the_reason(
    folder: Path, content: Any, why: str
) -> None:
    raw = put(folder / FILE_NAME, content)
    with pytest.raises(BrokenPinsError, match=why) as caught:
        Pins(folder)
    assert str(folder / FILE_NAME) in caught.value.cause
    assert caught.value.exit_code == 78
    with pytest.raises(BrokenPinsError), editing(folder):
        pass
    assert (folder / FILE_NAME).read_bytes() == raw


def test_a_file_others_could_change_is_refused(folder: Path) -> None:
    (folder / FILE_NAME).chmod(0o644)
    with pytest.raises(UnsafeFileError, match="open to others"):
        Pins(folder)


def test_what_a_command_wrote_is_taken_in_and_only_then(folder: Path) -> None:
    pins = Pins(folder)
    assert not pins.refresh()
    with editing(folder) as table:
        del table[KEY]
    assert pins.refresh()
    assert (pins.get(*KEY), pins.version) == (None, 1)
    assert not pins.refresh()


def test_a_file_that_breaks_while_running_leaves_what_was_known(folder: Path) -> None:
    pins = Pins(folder)
    good = (folder / FILE_NAME).read_bytes()
    (folder / FILE_NAME).write_bytes(b"{}")
    with pytest.raises(BrokenPinsError):
        pins.refresh()
    assert pins.get(*KEY) == PIN
    assert not pins.refresh()
    (folder / FILE_NAME).write_bytes(good)
    assert pins.refresh()


def test_a_block_that_fails_writes_nothing(folder: Path) -> None:
    def fails() -> None:
        with editing(folder) as table:
            table.clear()
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fails()
    assert read_pins(folder)[KEY] == PIN


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can act for another user")
def test_what_root_pins_is_readable_for_the_user_the_daemon_runs_as(folder: Path) -> None:
    for path in (folder, folder / FILE_NAME):
        os.chown(path, 12345, 12345)
    with editing(folder) as table:
        table["desk", Kind.TOOL, "u"] = PIN
    facts = (folder / FILE_NAME).stat()
    assert (facts.st_uid, facts.st_gid, facts.st_mode & 0o777) == (12345, 12345, 0o600)
    assert len(read_pins(folder)) == 3
    os.chown(folder / FILE_NAME, 12346, 12346)
    with pytest.raises(UnsafeFileError, match="another user"):
        read_pins(folder)


def test_a_folder_others_can_enter_takes_no_pins(folder: Path) -> None:
    folder.chmod(0o755)
    with pytest.raises(UnsafeFileError, match="open to others"), editing(folder):
        pass


def test_a_folder_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StateWriteError), editing(tmp_path / "file"):
        pass


def test_writers_at_once_lose_nothing(folder: Path) -> None:
    def add(number: int) -> None:
        with editing(folder) as table:
            table["desk", Kind.TOOL, f"t{number}"] = PIN

    threads = [threading.Thread(target=add, args=(number,)) for number in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert len(read_pins(folder)) == 14
