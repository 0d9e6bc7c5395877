"""Thousands of hostile inputs (T38, R19): a value or the documented error, nothing else."""

import random
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from shared.wire.limits import MAX_FRAME_BYTES
from shared.wire.mux import Role
from tests.fuzz.targets import SEEDS, TARGETS, check, conversation, mux_of

ROOT = Path(__file__).parents[2]
QUICK = settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))


def mutations(seed: bytes, count: int) -> list[bytes]:
    """Return changed copies of an input that is accepted whole; the same ones every time."""
    choose = random.Random(seed)
    changed = []
    for _ in range(count):
        one = bytearray(seed)
        for _ in range(choose.randrange(1, 4)):
            at = choose.randrange(len(one) + 1)
            match choose.randrange(4):
                case 0 if at < len(one):
                    one[at] ^= 1 << choose.randrange(8)
                case 1:
                    del one[at:]
                case 2:
                    one[at:at] = choose.randbytes(choose.randrange(1, 9))
                case _:
                    one[at:at] = one[: choose.randrange(len(one) + 1)]
        changed.append(bytes(one))
    return changed


@pytest.mark.parametrize("target", TARGETS)
@QUICK
@given(data=st.binary(max_size=600))
def test_noise_is_a_value_or_the_documented_error_t38_r19(target: str, data: bytes) -> None:
    """T38, R19: random bytes; for a mux they say how an honest conversation is changed."""
    check(target, data)


@pytest.mark.parametrize("target", sorted(set(TARGETS) - {"mux-relay", "mux-client"}))
def test_almost_right_input_is_a_value_or_the_documented_error_t38(target: str) -> None:
    """T38: bit flips, cuts and insertions in what is accepted whole."""
    for seed in SEEDS[target]:
        check(target, seed)
        for data in mutations(seed, 300):
            check(target, data)


@pytest.mark.parametrize("target", TARGETS)
def test_very_long_input_is_refused_quickly(target: str) -> None:
    for filler in (b"\0", b"[", b'{"a":', b"\n", b"a\n", b"\xff"):
        check(target, filler * (2 * MAX_FRAME_BYTES // len(filler)))


@pytest.mark.parametrize("depth", [100, 10_000, 100_000])
def test_deep_nesting_is_refused_without_a_crash(depth: int) -> None:
    for opening, closing in ((b"[", b"]"), (b'{"a":', b"}")):
        for target in ("envelope", "hello", "challenge", "tools", "grant"):
            check(target, opening * depth + b"1" + closing * depth)


@pytest.mark.parametrize("role", list(Role))
def test_the_honest_conversation_is_accepted_whole(role: Role) -> None:
    messages = conversation(role)
    assert len(messages) > 4
    mux = mux_of(role)
    for message in messages:
        mux.receive_message(message, 0.0)
    assert mux.sequence.taken > 10


def test_the_command_names_its_targets_and_how_to_get_atheris() -> None:
    def run(*args: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-c", _WITHOUT_ATHERIS, *args]
        return subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=60)

    assert "mux-relay" in run("nothing").stderr
    assert "pip install atheris" in run("frames").stderr


_WITHOUT_ATHERIS = (
    "import sys; sys.modules['atheris'] = None\nfrom tests.fuzz.__main__ import main\nmain()"
)
