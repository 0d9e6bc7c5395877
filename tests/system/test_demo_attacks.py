"""The attacks as a buyer starts them, to their end: each fails, and the output proves it."""

import asyncio
import re
import sys
from pathlib import Path
from typing import Any

import anyio
import pytest

from tests.helpers.attack_scene import AttackScene, need
from tests.helpers.curtain import perform
from tests.helpers.stage import Stage, StageError
from tests.helpers.tunnel import end

pytestmark = [pytest.mark.system, pytest.mark.slow]

ROOT = Path(__file__).resolve().parents[2]
SECONDS = 180
PROOFS = (
    r"S08, S09.*\n(.*\n)*? +PROOF: the stream ended with -31003 ",
    r"C02, C06.*\n(.*\n)*? +PROOF: the server was shown the secret 9 times, the agent read it 0 ",
    r"P20, P22.*\n(.*\n)*? +PROOF: of 50 calls at once 1 ran",
    r"A03, A04, A06.*\n(.*\n)*? +PROOF: 4 doctored logs, all found out",
    r"P13.*\n(.*\n)*? +PROOF: agents saw 4 tools, now 3",
    r"T32.*\n(.*\n)*? +PROOF: he ordered 4 payments and 1 unknown tool, 0 reached the bank",
    r"\nEvery attack failed\.\n",
    r"client ended with 0, relay ended with 0\nEverything worked, in ",
)


async def test_every_attack_fails_and_says_why() -> None:
    """S08, S09, C02, C06, P20, P22, P13, A03, A04, A06 and T32, as a buyer sees them."""
    demo = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.system.demo_attacks"),
        cwd=ROOT,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        start_new_session=True,
    )
    try:
        with anyio.fail_after(SECONDS):
            out, err = await demo.communicate()
    finally:
        await end(demo)
    said = out.decode()
    assert demo.returncode == 0, said + err.decode()
    assert err == b""
    assert [line for line in PROOFS if not re.search(line, said)] == [], said
    # A terminal's history is no place for tokens.
    assert not re.search(r"mt[saj]_[A-Za-z0-9_-]{43}", said)


async def test_an_attack_that_works_is_said_and_ends_with_1(
    capsys: pytest.CaptureFixture[str],
) -> None:
    async def play(stage: Stage) -> None:
        nothing: Any = None
        scene = AttackScene(stage, nothing, nothing, "", 0, nothing)
        with scene.attack("A door", "tries the handle"):
            need(False, "it was open")
        with scene.attack("A window", "looks in"):
            scene.proof("it was dark")
        if scene.worked:
            raise StageError(f"worked: {', '.join(scene.worked)}")

    assert await perform(play, "demo-attacks") == 1
    said = capsys.readouterr().out
    assert "THE ATTACK WORKED: it was open" in said
    assert "FAILED: StageError: worked: A door" in said
