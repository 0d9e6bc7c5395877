"""A slice of the kills for CI; `make kills` does a hundred."""

import anyio
import pytest

from tests.system.kills import run

pytestmark = pytest.mark.system


async def test_what_was_killed_under_load_accounts_for_every_call() -> None:
    """A09: at both ends; nothing reached the upstream that the logs do not know."""
    with anyio.fail_after(120):
        done = await run(3, seed=5)
    assert done.account.faults == []
    assert set(done.killed) == {"relay", "client"}
    assert done.account.counts["calls of the upstream"] > 0
