"""SIGTERM and SIGINT: the first stops the client, the second ends every wait."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator

import anyio
import pytest

from tunnel_client import stopping
from tunnel_client.stopping import SIGNALS, Stops

DEADLINE = 20.0


@pytest.fixture(autouse=True)
def _handlers_as_before() -> Iterator[None]:
    before = {number: signal.getsignal(number) for number in SIGNALS}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


async def until_cancelled(scope: anyio.CancelScope) -> None:
    with anyio.fail_after(DEADLINE), scope:
        await anyio.sleep_forever()


class Said(list[str]):
    """A log: what tests before made of structlog's own is kept by its loggers."""

    def info(self, event: str) -> None:
        self.append(event)


async def test_the_first_signal_stops_and_the_second_hurries(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    said = Said()
    monkeypatch.setattr(stopping, "log", said)
    stops, work, end = Stops(), anyio.CancelScope(), anyio.CancelScope(shield=True)
    stops.stop(work)
    stops.hurry(end)
    os.kill(os.getpid(), signal.SIGTERM)
    await until_cancelled(work)
    assert not end.cancel_called
    os.kill(os.getpid(), signal.SIGINT)
    await until_cancelled(end)
    assert said == ["stopping", "stopping now"]


async def test_what_begins_after_its_signal_does_not_wait_for_another() -> None:
    stops, begun = Stops(), anyio.CancelScope()
    stops.stop(begun)
    os.kill(os.getpid(), signal.SIGINT)
    await until_cancelled(begun)
    late, end = anyio.CancelScope(), anyio.CancelScope()
    stops.stop(late)
    await until_cancelled(late)
    stops.hurry(end)
    assert not end.cancel_called


HANGS = """\
import asyncio, os, sys, threading
from tunnel_client.stopping import Stops

async def main():
    stops = Stops()
    asyncio.get_running_loop().run_in_executor(None, threading.Event().wait)
    for number in sys.argv[1:]:
        os.kill(os.getpid(), int(number))
        await asyncio.sleep(0)
    stops.over(7)
    print("over", flush=True)

asyncio.run(main())
"""


@pytest.mark.system
@pytest.mark.parametrize("number", SIGNALS)
def test_when_all_is_closed_a_signal_waits_for_no_thread_and_keeps_the_exit_code(
    number: signal.Signals,
) -> None:
    """A thread that asks a DNS server that is silent holds up Python's own end."""
    with subprocess.Popen([sys.executable, "-c", HANGS], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"over\n"
        process.send_signal(number)
        assert process.wait(DEADLINE) == 7


@pytest.mark.system
def test_a_second_signal_before_all_was_closed_waits_for_no_thread_either() -> None:
    words = [sys.executable, "-c", HANGS, *(str(int(number)) for number in SIGNALS)]
    assert subprocess.run(words, check=False, timeout=DEADLINE).returncode == 7


ENDS = """\
import asyncio, atexit, os, signal
from tunnel_client.stopping import Stops

class Late:
    def __del__(self, kill=os.kill, me=os.getpid(), number=int(signal.SIGTERM)):
        kill(me, number)

async def main():
    Stops().over(7)

asyncio.run(main())
import builtins
builtins.late = Late()
raise SystemExit(7)
"""


@pytest.mark.system
def test_a_signal_while_python_itself_ends_changes_nothing() -> None:
    """Its own handlers are gone by then."""
    assert subprocess.run([sys.executable, "-c", ENDS], check=False).returncode == 7
