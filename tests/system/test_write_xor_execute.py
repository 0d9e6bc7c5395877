"""The programs run where no memory may be written and executed, as in their units."""

import json
import subprocess
import sys

import pytest

from tests.helpers.tunnel import BIN, Lab
from tests.integration.policies import open_desk

UNDER = """
import ctypes, os, sys
if ctypes.CDLL(None, use_errno=True).prctl(65, 1, 0, 0, 0):
    sys.exit(125)
os.execv(sys.argv[1], sys.argv[1:])
"""
"""Sets PR_SET_MDWE, which a program that is executed keeps."""
PROBE = """
import mmap
try:
    mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
except OSError:
    print("refused")
"""


def under(*argv: str) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [sys.executable, "-c", UNDER, *argv],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    if done.returncode == 125:
        pytest.skip("this kernel has no PR_SET_MDWE (6.3 or newer)")
    return done


def test_the_rule_holds_in_what_is_executed() -> None:
    assert under(sys.executable, "-c", PROBE).stdout == "refused\n"


@pytest.mark.parametrize(
    "module",
    ["tunnel_client.app", "tunnel_relay.serve"],
)
def test_all_that_a_daemon_loads_can_be_loaded(module: str) -> None:
    """Native extensions and the event loop included."""
    code = (
        f"import {module}; from shared.link import loop; import asyncio; loop.run(asyncio.sleep(0))"
    )
    done = under(sys.executable, "-c", code)
    assert done.returncode == 0, done.stderr


def test_the_commands_start() -> None:
    for program in ("tunnel-client", "tunnel-relay"):
        assert under(str(BIN / program), "--version").returncode == 0


async def test_daemons_under_it_carry_calls_that_are_judged_and_written_down() -> None:
    """With all that is native at work: event loop, parsers, keys, the database and CEL."""
    under(str(BIN / "tunnel-relay"), "--version")  # or it is said that this kernel has no such rule

    def prepare(lab: Lab) -> None:
        lab.under = (sys.executable, "-c", UNDER)

    async with open_desk(prepare=prepare) as desk:
        for modern in (True, False):
            case = f"paid-{modern}"
            reply = await desk.call("refund", modern, case=case, amount=4000)
            assert (reply.status, desk.reached(case)) == (200, 1)
            assert "result" in reply.document
            denied = await desk.call("refund", modern, case="too-much", amount=9000)
            assert denied.document["result"]["isError"] is True
        assert desk.reached("too-much") == 0
        assert "get_ticket" in await desk.listed(modern=True)
        for program in ("relay", "client"):
            folder = desk.lab.folder / program / "state" / "audit"
            words = ("audit", "verify", "--folder", str(folder), "--json")
            assert json.loads(await desk.lab.client_command(*words))["ok"] is True
