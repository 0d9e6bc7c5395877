"""A slice of the matrix for CI; `make peers` runs all of it."""

import anyio
import pytest

from tests.helpers import node_packages
from tests.peers import servers
from tests.peers.verdict import passed
from tests.system.peers import chosen, run_matrix

pytestmark = pytest.mark.system

needs_node_packages = pytest.mark.skipif(
    not (node_packages.NODE_DIR / "node_modules" / ".installed").is_file(),
    reason="NODE PACKAGES ARE MISSING: run python -m tests.helpers.node_packages tests/node",
)


@needs_node_packages
async def test_cells_of_each_kind_go_through_the_tunnel_as_they_do_directly() -> None:
    pairs = [
        ("python-auto", "everything"),  # legacy over HTTP
        ("python-auto", "time"),  # modern over stdio
        ("ts-v2", "filesystem"),  # legacy over stdio
    ]
    with anyio.fail_after(120):
        cells = await run_matrix(pairs, through_tunnel=True)
    assert [(cell.client, cell.server) for cell in cells] == pairs
    assert [cell.judged for cell in cells if not passed(cell.judged)] == []


def test_a_name_outside_the_matrix_is_refused() -> None:
    with pytest.raises(ValueError, match="nonesuch is neither"):
        chosen("time,nonesuch")


def test_one_client_may_be_chosen_for_all_servers() -> None:
    assert chosen("ts-v1") == (["ts-v1"], list(servers.NAMES))
