"""Asking the running daemon for its status over its socket."""

import asyncio
import json
import os
import socket
from pathlib import Path
from typing import Any

import anyio
import pytest

from shared.holder import Holder
from tunnel_client import control
from tunnel_client.control import (
    MAX_ASKING,
    SOCKET_FILE,
    ControlServer,
    Told,
    ask_record,
    ask_status,
    unanswered,
)
from tunnel_client.errors import NotAnsweringError, NotRunningError, StateWriteError
from tunnel_client.identity import StateLock


def status() -> dict[str, Any]:
    return {"state": "connected", "links": [{"node": "a"}]}


async def heard(reader: asyncio.StreamReader) -> bytes:
    """Return what came until the end, which may be a reset."""
    try:
        return await reader.read()
    except ConnectionError:
        return b""


async def test_a_question_gets_the_status(tmp_path: Path) -> None:
    async with ControlServer(tmp_path / SOCKET_FILE, status):
        assert (tmp_path / SOCKET_FILE).stat().st_mode & 0o777 == 0o600
        with anyio.fail_after(10):
            assert await asyncio.to_thread(ask_status, tmp_path) == status()
    assert not (tmp_path / SOCKET_FILE).exists()


async def test_the_socket_of_a_dead_daemon_is_replaced(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(tmp_path / SOCKET_FILE))
    with pytest.raises(NotRunningError, match="has ended"):
        ask_status(tmp_path)
    async with ControlServer(tmp_path / SOCKET_FILE, status):
        with anyio.fail_after(10):
            assert await asyncio.to_thread(ask_status, tmp_path) == status()


def test_no_daemon_says_what_to_run(tmp_path: Path) -> None:
    with pytest.raises(NotRunningError, match="tunnel-client run"):
        ask_status(tmp_path)


def test_a_process_that_holds_the_state_and_has_no_socket_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(control, "START_PATIENCE", 0.1)
    state = tmp_path / "state"
    with StateLock(state), pytest.raises(NotAnsweringError) as caught:
        ask_status(state)
    assert caught.value.code == "MT2107"
    assert f"process {os.getpid()} holds {state}" in caught.value.cause
    assert "systemctl restart tunnel-client" in caught.value.next
    with pytest.raises(NotRunningError) as gone:
        ask_status(state)
    assert gone.value.code == "MT2106"


async def test_a_daemon_that_is_still_starting_is_waited_for(tmp_path: Path) -> None:
    state = tmp_path / "state"
    with StateLock(state), anyio.fail_after(10):
        asking = asyncio.create_task(asyncio.to_thread(ask_status, state))
        async with ControlServer(state / SOCKET_FILE, status):
            assert await asking == status()


def test_a_daemon_that_hangs_is_named_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It listened, and answers nobody any more."""
    monkeypatch.setattr(control, "ASK_SECONDS", 0.1)
    state = tmp_path / "state"
    with StateLock(state), socket.socket(socket.AF_UNIX) as silent:
        silent.bind(str(state / SOCKET_FILE))
        silent.listen(1)
        with pytest.raises(NotAnsweringError, match=f"process {os.getpid()} holds"):
            ask_status(state)


@pytest.mark.parametrize(
    ("holder", "next_command"),
    [
        (Holder(7, stopped=True), "kill -CONT 7"),
        (Holder(7, stopped=False), "journalctl -u tunnel-client -n 50"),
        (Holder(None, stopped=False), "journalctl -u tunnel-client -n 50"),
    ],
)
def test_what_to_do_about_one_that_does_not_answer(holder: Holder, next_command: str) -> None:
    found = unanswered(holder, Path("/state"), "why")
    assert found.next.startswith(next_command)
    assert found.cause == f"{holder} holds /state and does not answer: why"


async def test_a_file_in_the_way_is_not_removed(tmp_path: Path) -> None:
    (tmp_path / SOCKET_FILE).write_text("mine")
    with pytest.raises(StateWriteError, match="cannot listen"):
        async with ControlServer(tmp_path / SOCKET_FILE, status):
            pass
    assert (tmp_path / SOCKET_FILE).read_text() == "mine"


async def test_a_path_too_long_for_a_socket_is_told(tmp_path: Path) -> None:
    with pytest.raises(StateWriteError, match="cannot listen"):
        async with ControlServer(tmp_path / ("x" * 120), status):
            pass


@pytest.mark.parametrize("question", [b"{}\n", b"nonsense\n", b'{"ask": "stop"}\n', b"\xff\n"])
async def test_any_other_question_is_refused(tmp_path: Path, question: bytes) -> None:
    with anyio.fail_after(10):
        async with ControlServer(tmp_path / SOCKET_FILE, status):
            reader, writer = await asyncio.open_unix_connection(tmp_path / SOCKET_FILE)
            writer.write(question)
            assert json.loads(await reader.read()) == {"error": "unknown question"}
            writer.close()


async def test_a_command_hears_when_the_daemon_has_written_it_down(tmp_path: Path) -> None:
    heard: list[tuple[str, dict[str, Any]]] = []

    def record(kind: str, facts: dict[str, Any], told: Told) -> None:
        heard.append((kind, facts))
        why = "the disk is full" if facts["tool"] == "b" else None
        asyncio.get_running_loop().call_soon(told, why)

    async with ControlServer(tmp_path / SOCKET_FILE, status, record):
        with anyio.fail_after(10):
            said = [
                await asyncio.to_thread(ask_record, tmp_path, "tool.pinned", {"tool": tool})
                for tool in "ab"
            ]
    assert said == [None, "the disk is full"]
    assert heard == [("tool.pinned", {"tool": "a"}), ("tool.pinned", {"tool": "b"})]


async def test_a_daemon_without_a_log_says_so(tmp_path: Path) -> None:
    async with ControlServer(tmp_path / SOCKET_FILE, status):
        with anyio.fail_after(10):
            said = await asyncio.to_thread(ask_record, tmp_path, "tool.pinned", {})
    assert said == "unknown question"


async def test_who_sends_no_end_of_line_is_cut_off(tmp_path: Path) -> None:
    with anyio.fail_after(10):
        async with ControlServer(tmp_path / SOCKET_FILE, status):
            reader, writer = await asyncio.open_unix_connection(tmp_path / SOCKET_FILE)
            writer.write(b"x" * 5000)
            assert await heard(reader) == b""
            writer.close()


async def test_too_many_at_once_are_cut_off_and_the_end_cuts_the_rest(tmp_path: Path) -> None:
    with anyio.fail_after(10):
        async with ControlServer(tmp_path / SOCKET_FILE, status):
            path = tmp_path / SOCKET_FILE
            waiting = [await asyncio.open_unix_connection(path) for _ in range(MAX_ASKING)]
            reader, writer = await asyncio.open_unix_connection(path)
            assert await heard(reader) == b""
            writer.close()
        for reader, writer in waiting:
            assert await heard(reader) == b""
            writer.close()
