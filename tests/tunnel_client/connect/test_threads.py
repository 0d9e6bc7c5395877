"""Blocking work is left behind when nobody waits for it any more."""

import asyncio
import threading

import anyio
import pytest

from tunnel_client.connect.threads import in_thread, tell


async def test_results_and_errors_come_back() -> None:
    assert await in_thread(lambda: 7, "t") == 7
    with pytest.raises(ValueError, match="no"):
        await in_thread(lambda: int("no"), "t")


async def test_who_stops_waiting_is_free_at_once() -> None:
    stop = threading.Event()
    with anyio.move_on_after(0.01) as scope:
        await in_thread(stop.wait, "t")
    assert scope.cancelled_caught
    stop.set()


def test_a_loop_that_has_ended_is_told_nothing() -> None:
    loop = asyncio.new_event_loop()
    loop.close()
    assert not tell(loop, print)
