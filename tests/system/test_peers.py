"""A slice of the matrix for CI; `make peers` runs all of it."""

from pathlib import Path

import anyio
import pytest

from tests.helpers import node_packages
from tests.peers import clients, servers
from tests.peers.cell import run_cell
from tests.peers.verdict import judge, passed
from tests.system.peers import chosen

pytestmark = pytest.mark.system

needs_node_packages = pytest.mark.skipif(
    not (node_packages.NODE_DIR / "node_modules" / ".installed").is_file(),
    reason="NODE PACKAGES ARE MISSING: run python -m tests.helpers.node_packages tests/node",
)


@pytest.mark.parametrize("name", ["time", pytest.param("everything", marks=needs_node_packages)])
async def test_the_python_client_does_every_step_directly(name: str, tmp_path: Path) -> None:
    with anyio.fail_after(120):
        async with servers.started_servers(tmp_path, [name]) as started:
            rows = await run_cell(clients.client("python-auto"), started[0], None)
    judged = judge(rows, None)
    assert passed(judged), judged


def test_a_name_outside_the_matrix_is_refused() -> None:
    with pytest.raises(ValueError, match="nonesuch is neither"):
        chosen("time,nonesuch")


def test_one_client_may_be_chosen_for_all_servers() -> None:
    assert chosen("ts-v1") == (["ts-v1"], list(servers.NAMES))
