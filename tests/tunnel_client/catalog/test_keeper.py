"""The catalogue follows the servers and the file of pins while the client runs."""

import contextlib
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import anyio
import pytest
import structlog

from shared.policy.classes import ToolClass
from tests.helpers.consented import make_consented
from tests.helpers.shifty_server import Shifty, shifty
from tests.tunnel_client.catalog.test_catalog import ADD, DROP, EVIL, item
from tests.tunnel_client.upstream.http_support import eventually
from tunnel_client.catalog import keeper as module
from tunnel_client.catalog.catalog import Catalog, State
from tunnel_client.catalog.definitions import Kind
from tunnel_client.catalog.keeper import Keeper
from tunnel_client.catalog.marks import Table, read_marks
from tunnel_client.catalog.pins import FILE_NAME, Pin, Pins, editing
from tunnel_client.errors import StateWriteError
from tunnel_client.settings import UpstreamSettings


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LIST_SECONDS", 0.03)
    monkeypatch.setattr(module, "RETRY_SECONDS", 0.05)
    monkeypatch.setattr(module, "GAP_SECONDS", 0.02)
    monkeypatch.setattr(module, "PINS_SECONDS", 0.05)


def pin(folder: Path, *entries: dict[str, Any]) -> None:
    with editing(folder) as table:
        for entry in entries:
            made = item(entry)
            key = ("desk", Kind.TOOL, made.name)
            before = table.get(key)
            at = 1 if before is None else before.pinned + 1
            table[key] = Pin(made.name, made.sha256, ToolClass.READ, made.definition, at, "kim")


@contextlib.asynccontextmanager
async def kept(
    folder: Path,
    *,
    at_start: bool = True,
    periodic: bool = True,
    linked: Callable[[], bool] = lambda: True,
    **settings: Any,
) -> AsyncIterator[tuple[Catalog, Keeper]]:
    upstream = make_consented(UpstreamSettings(name="desk", **settings), {})
    await upstream.start()
    catalog = Catalog(Pins(folder), ["desk"])
    names = {True: ["desk"], False: []}
    keeper = Keeper(catalog, {"desk": upstream}, names[at_start], names[periodic], linked)
    try:
        with anyio.fail_after(30):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(keeper.run)
                yield catalog, keeper
                tasks.cancel_scope.cancel()
    finally:
        await upstream.aclose()


async def a_while(folder: Path, catalog: Catalog) -> None:
    """Let the keeper look at the pins some times: longer than its time between two listings."""
    for _ in range(3):
        before = catalog.version
        pin(folder, {"name": "other"})
        await eventually(lambda before=before: catalog.version > before)  # type: ignore[misc]


def state(catalog: Catalog, tool: str = "add") -> State | None:
    found = catalog.state("desk", tool)
    return None if found is None else found.state


async def test_a_server_that_changes_its_tools_is_found_out_and_pinned_again(
    tmp_path: Path,
) -> None:
    """P13, end to end but for the agent: a server, its listing, the file of pins."""
    pin(tmp_path, ADD)
    async with shifty(tools=[ADD]) as server, kept(tmp_path, url=server.url) as (catalog, _):
        await eventually(lambda: "tools/list" in server.asked)
        assert catalog.callable("desk", "add") is not None
        server.tools = [EVIL, DROP]
        await eventually(lambda: state(catalog) is State.CHANGED)
        assert catalog.callable("desk", "add") is None
        assert state(catalog, "drop") is State.NEW
        pin(tmp_path, EVIL)
        await eventually(lambda: catalog.callable("desk", "add") is not None)
        assert catalog.filter_tools("desk", [EVIL, DROP]) == [EVIL]


async def test_nobody_is_asked_before_there_is_a_reason(tmp_path: Path) -> None:
    async with shifty(tools=[ADD]) as server:
        off: dict[str, Any] = {"at_start": False, "linked": lambda: False}
        async with kept(tmp_path, url=server.url, **off) as (catalog, keeper):
            await a_while(tmp_path, catalog)
            assert server.asked == []
            # A list that passes by shows something unknown.
            catalog.filter_tools("desk", [DROP])
            await eventually(lambda: state(catalog) is State.NEW)
            keeper.wake("nobody")
        assert server.asked.count("tools/list") == 1


async def test_a_server_that_is_down_is_asked_again_and_no_error(tmp_path: Path) -> None:
    server = Shifty(tools=[ADD])
    async with kept(tmp_path, url="http://127.0.0.1:1/mcp") as (catalog, _):
        await eventually(lambda: "listing_error" in catalog.status("desk"))
        assert not catalog.status("desk")["listed"]
    assert server.asked == []
    down = True

    def pages(method: str, params: dict[str, Any]) -> Any:
        return "broken" if down else {"tools": [ADD]}

    async with shifty(pages=pages) as server, kept(tmp_path, url=server.url) as (catalog, _):
        await eventually(lambda: server.asked.count("tools/list") >= 2)
        down = False
        await eventually(lambda: state(catalog) is State.NEW)


async def test_a_program_is_started_once_and_not_every_five_minutes(tmp_path: Path) -> None:
    count = tmp_path / "count"
    script = f"open({str(count)!r}, 'a').write('x')"
    command = [sys.executable, "-S", "-c", script]
    async with kept(tmp_path / "state", periodic=False, command=command) as (catalog, _):
        await eventually(lambda: "listing_error" in catalog.status("desk"))
        started = len(count.read_text())
        await a_while(tmp_path / "state", catalog)
        assert len(count.read_text()) == started


async def test_a_file_of_pins_that_breaks_while_running_approves_nothing(tmp_path: Path) -> None:
    pin(tmp_path, ADD)
    async with shifty(tools=[ADD, DROP]) as server, kept(tmp_path, url=server.url) as (catalog, _):
        await eventually(lambda: state(catalog, "drop") is State.NEW)
        (tmp_path / FILE_NAME).write_text("{}")
        asked = len(server.asked)
        await eventually(lambda: len(server.asked) > asked + 10)
        assert catalog.callable("desk", "add") is not None
        assert catalog.callable("desk", "drop") is None


async def test_what_changed_is_written_down_while_the_client_runs(tmp_path: Path) -> None:
    """P13: also when the disk is full at first, and said once then."""
    pin(tmp_path, ADD)
    async with shifty(tools=[ADD]) as server, kept(tmp_path, url=server.url) as (catalog, _):
        await eventually(lambda: "tools/list" in server.asked)
        store, tries = catalog.store, iter(range(3))

        def full(marks: Table) -> None:
            if next(tries, None) is not None:
                raise StateWriteError("no space left")
            store(marks)

        catalog.store = full  # type: ignore[method-assign]
        with structlog.testing.capture_logs() as logs:
            server.tools = [EVIL]
            await eventually(lambda: ("desk", "add") in read_marks(tmp_path))
        said = [entry for entry in logs if entry["log_level"] == "error"]
        assert [entry["why"] for entry in said] == ["no space left"]
        pin(tmp_path, EVIL)
        await eventually(lambda: read_marks(tmp_path) == {})


async def test_what_changed_last_is_written_down_at_the_end(tmp_path: Path) -> None:
    pin(tmp_path, ADD)
    async with shifty(tools=[ADD]) as server, kept(tmp_path, url=server.url) as (catalog, _):
        await eventually(lambda: "tools/list" in server.asked)
        catalog.note_seen("desk", [EVIL])
        assert read_marks(tmp_path) == {}
    assert set(read_marks(tmp_path)) == {("desk", "add")}
