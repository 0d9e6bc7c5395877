"""What SIGHUP has read again: each part is read, whatever becomes of the others."""

import pytest

from shared.rereading import Part, read_parts, what_broke


def said(name: str, text: str) -> Part:
    async def read() -> str:
        return text

    return Part(name, read)


def broken(name: str, error: Exception) -> Part:
    async def read() -> str:
        raise error

    return Part(name, read)


@pytest.mark.parametrize(
    "error", [OSError("gone"), ValueError("x"), RuntimeError(), RecursionError(), MemoryError()]
)
async def test_a_part_that_breaks_is_told_and_the_rest_is_read(error: Exception) -> None:
    told: list[tuple[str, str]] = []
    parts = [said("a", "a read"), broken("b", error), said("c", ""), said("d", "d read")]
    line = await read_parts(parts, lambda name, what: told.append((name, what)))
    assert line == "a read, b not read, d read"
    assert [name for name, _ in told] == ["b"]
    assert told[0][1].startswith(f"{type(error).__name__} at {__file__}:")


def test_what_broke_never_shows_what_was_read() -> None:
    assert what_broke(ValueError("hunter2")) == "ValueError"
