import json
import os
from pathlib import Path

import anyio
import pytest

from tests.peers import pipes
from tests.peers.scenario import ToolCall


@pytest.fixture
def pipe(tmp_path: Path) -> Path:
    path = tmp_path / "pipe"
    os.mkfifo(path)
    return path


async def test_the_reader_waits_while_the_pipe_is_held_and_ends_after(pipe: Path) -> None:
    read: list[bytes] = []

    async def reader() -> None:
        read.append(await anyio.to_thread.run_sync(pipe.read_bytes))

    with anyio.fail_after(10):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(reader)
            async with pipes.held_open(pipe):
                assert read == []
    assert read == [b""]


async def test_nobody_holds_a_pipe_that_is_not_read(pipe: Path) -> None:
    with anyio.CancelScope() as given_up:
        given_up.cancel()  # takes effect at the first wait, after the first attempt
        async with pipes.held_open(pipe):
            pytest.fail("nobody reads it")
    assert given_up.cancelled_caught


def test_releasing_a_pipe_without_readers_does_nothing(pipe: Path) -> None:
    pipes.release_readers(pipe)
    pipes.release_readers(pipe.with_name("absent"))


def recorded(folder: Path, *messages: dict[str, object]) -> ToolCall:
    path = folder / "messages"
    path.write_text("".join(json.dumps(message) + "\n" for message in messages), encoding="utf-8")
    return {"tool": "slow", "arguments": {}, "expect": "", "messages": str(path)}


async def test_a_cancel_of_the_tools_own_call_was_heard(tmp_path: Path) -> None:
    call = recorded(
        tmp_path,
        {"method": "tools/call", "id": 3, "tool": "slow"},
        {"method": "notifications/cancelled", "id": 3},
    )
    assert await pipes.cancel_heard(call)


@pytest.mark.parametrize(
    "other",
    [
        pytest.param({"method": "notifications/cancelled", "id": 4}, id="another call"),
        pytest.param({"method": "notifications/cancelled", "id": "3"}, id="a text, not the number"),
    ],
)
async def test_what_cancels_another_id_is_not_ours(
    other: dict[str, object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pipes, "HEARD_SECONDS", 0.0)
    call = recorded(
        tmp_path,
        {"method": "tools/call", "id": 3, "tool": "slow"},
        {"method": "tools/call", "id": 4, "tool": "quick"},
        other,
    )
    assert not await pipes.cancel_heard(call)
