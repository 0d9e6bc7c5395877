import os
from pathlib import Path

import anyio
import pytest

from tests.peers import pipes


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
