"""Attempts beside each other: one comes through, none is left behind."""

import anyio
import anyio.lowlevel
import pytest

from tunnel_client.racing import first_of

SOON = (0.01, 0.02)


async def test_an_attempt_that_hangs_is_overtaken() -> None:
    begun = 0

    async def attempt() -> int:
        nonlocal begun
        begun += 1
        number = begun
        if number < 3:
            await anyio.sleep_forever()
        return number

    with anyio.fail_after(5):
        assert await first_of(attempt, lambda _: None, SOON) == 3


async def test_what_comes_second_is_dropped() -> None:
    dropped: list[int] = []
    begun = 0
    both = anyio.Event()

    async def attempt() -> int:
        nonlocal begun
        begun += 1
        number = begun
        if number == 2:
            both.set()
        await both.wait()
        with anyio.CancelScope(shield=True):
            await anyio.lowlevel.checkpoint()
        return number

    won = await first_of(attempt, dropped.append, (0.01,))
    assert sorted([won, *dropped]) == [1, 2]


async def test_the_first_failure_is_the_answer() -> None:
    async def attempt() -> int:
        raise ConnectionRefusedError("nobody listens")

    with pytest.raises(ConnectionRefusedError, match="nobody listens"):
        await first_of(attempt, lambda _: None, SOON)


async def test_who_waits_no_longer_leaves_no_attempt_behind() -> None:
    begun = ended = 0

    async def attempt() -> int:
        nonlocal begun, ended
        begun += 1
        if begun == 1 + len(SOON):
            scope.cancel()
        try:
            await anyio.sleep_forever()
        finally:
            ended += 1
        return 0

    with anyio.fail_after(5) as scope:
        await first_of(attempt, lambda _: None, SOON)
    assert ended == begun == 3
