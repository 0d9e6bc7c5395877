"""The tools of systemd, for tests of units: installed where that is allowed, else missed aloud."""

import shutil

import pytest

from tests.helpers.debian_packages import SYSTEMD, install


def tool(name: str) -> str:
    """Return where one of its programs is; skips the test where it can be had by no means."""
    problem = install(SYSTEMD)
    found = shutil.which(name)
    if found is None:
        pytest.skip(f"NO UNIT TESTED: {problem}")
    return found
