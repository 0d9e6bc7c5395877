"""SIGHUP in a program that is not ready for it, that is, and that is on its way out."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = """\
import signal
import sys

import anyio

from shared.hangup import Hangups
from shared.link import loop

hangups = Hangups()
signal.raise_signal(signal.SIGHUP)
signal.raise_signal(signal.SIGHUP)

async def main():
    print("early", hangups.pending, flush=True)
    await hangups.next()
    print("heard", hangups.pending, flush=True)
    await hangups.next()
    print("again", hangups.pending, flush=True)
    with anyio.move_on_after(0):
        await hangups.next()

class Last:
    # Python takes it down when it ends, after its own handlers of signals.

    def __del__(self, raised=signal.raise_signal, number=signal.SIGHUP):
        raised(number)


sys.last = Last()
if sys.argv[1] == "ours":
    loop.run(main())
else:
    anyio.run(main)
signal.raise_signal(signal.SIGHUP)
print("lives", hangups.pending, flush=True)
"""


@pytest.mark.parametrize("kind", ["asyncio", "ours"])
def test_it_is_heard_late_heard_at_once_and_never_the_end(kind: str) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM, kind], stdout=subprocess.PIPE, text=True
    ) as program:
        assert program.stdout is not None
        assert program.stdout.readline() == "early True\n"
        assert program.stdout.readline() == "heard False\n"
        program.send_signal(signal.SIGHUP)
        assert program.communicate(timeout=30)[0] == "again False\nlives True\n"
        assert program.returncode == 0


START = """\
import signal
import sys

from {package} import cli

def hangs(begins):
    def begin(*words, **more):
        signal.raise_signal(signal.SIGHUP)
        return begins(*words, **more)
    return begin

cli.{begins} = hangs(cli.{begins})
signal.signal(signal.SIGHUP, signal.SIG_DFL)  # whoever runs the tests may ignore it
cli.main()
"""


@pytest.mark.parametrize(
    ("package", "begins", "verb"),
    [("tunnel_relay", "build", "serve"), ("tunnel_client", "cli", "run")],
)
def test_it_does_not_end_a_program_that_has_hardly_begun(
    tmp_path: Path, package: str, begins: str, verb: str
) -> None:
    def ended(*words: str) -> int:
        text = START.format(package=package, begins=begins)
        words = (*words, "--config", str(tmp_path / "none.toml"))
        return subprocess.run(
            [sys.executable, "-c", text, *words], stderr=-3, check=False
        ).returncode

    assert ended(verb) == 78, "it gets as far as the configuration"
    assert ended("status") == -signal.SIGHUP, "commands end with their terminal"
