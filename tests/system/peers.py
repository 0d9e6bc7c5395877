"""Real MCP clients against real MCP servers, directly and through the tunnel.

    python -m tests.system.peers [--only CLIENT,SERVER] [--direct-only] [--json]

A cell passes when every step passes through the tunnel, or fails in the same way without it. Exit
code 0 when every cell passes, 1 when one does not, 2 for a name that is not in the matrix.
"""

import argparse
import json
import sys
import tempfile
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import anyio

from tests.helpers.tunnel import RunningTunnel
from tests.peers import clients, servers
from tests.peers.cell import run_cell
from tests.peers.scenario import STEPS, Row
from tests.peers.tunnel import started_tunnels
from tests.peers.verdict import Judged, judge, passed


@dataclass(frozen=True)
class Cell:
    """One client against one server, both ways; `None` for a way that was not tried."""

    client: str
    server: str
    direct: list[Row]
    tunnelled: list[Row] | None

    @property
    def judged(self) -> list[Judged]:
        """Every step with its mark."""
        return judge(self.direct, self.tunnelled)


async def run_matrix(pairs: Sequence[tuple[str, str]], *, through_tunnel: bool) -> list[Cell]:
    """Run a cell for each pair of client and server, server by server, one cell after the other.

    Tells on stderr which one is running.
    """
    cells: list[Cell] = []
    peers = {name: clients.client(name) for name, _ in pairs}
    server_names = list(dict.fromkeys(name for _, name in pairs))
    async with AsyncExitStack() as stack:
        workspace = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        started = await stack.enter_async_context(servers.started_servers(workspace, server_names))
        tunnels: dict[str, RunningTunnel] = {}
        if through_tunnel:
            tunnels = await stack.enter_async_context(started_tunnels(started, workspace))
        for server in started:
            tunnel = tunnels.get(server.name)
            for peer in (peers[name] for name, where in pairs if where == server.name):
                print(f"{peer.name} x {server.name} ...", file=sys.stderr, flush=True)
                direct = await run_cell(peer, server, None)
                tunnelled = await run_cell(peer, server, tunnel) if tunnel else None
                cells.append(Cell(peer.name, server.name, direct, tunnelled))
    return cells


def table(cells: list[Cell]) -> str:
    """Lay the cells out: two lines each, and below them what needs words."""
    head = f"{'client':<14} {'server':<11} {'way':<7} {'era':<10} "
    lines = [head + " ".join(f"{step:<8}" for step in STEPS) + " verdict"]
    for cell in cells:
        verdict = "pass" if passed(cell.judged) else "FAIL"
        for way, rows in (("direct", cell.direct), ("tunnel", cell.tunnelled)):
            if rows is not None:
                last = verdict if way == "tunnel" or cell.tunnelled is None else ""
                lines.append(_line(cell, way, rows, last))
    return "\n".join([*lines, "", *_notes(cells)])


def _line(cell: Cell, way: str, rows: list[Row], verdict: str) -> str:
    era = next((row["era"] for row in rows if row["era"]), "-")
    outcome = {row["step"]: row["outcome"] for row in rows}
    steps = " ".join(f"{outcome.get(step, 'none'):<8}" for step in STEPS)
    return f"{cell.client:<14} {cell.server:<11} {way:<7} {era:<10} {steps} {verdict}".rstrip()


def _notes(cells: list[Cell]) -> list[str]:
    notes: dict[str, list[str]] = {}
    for cell in cells:
        for judged in cell.judged:
            if judged.note:
                words = f"{cell.server} {judged.step}: {judged.mark}: {judged.note}"
                notes.setdefault(words, []).append(cell.client)
    count = sum(passed(cell.judged) for cell in cells)
    lines = [f"{words} ({', '.join(names)})" for words, names in notes.items()]
    return [*lines, "", f"{count} of {len(cells)} cells pass"]


def as_json(cells: list[Cell]) -> str:
    """Return the cells as JSON: the rows of both ways and the verdict."""
    return json.dumps(
        [
            {
                "client": cell.client,
                "server": cell.server,
                "passed": passed(cell.judged),
                "steps": [step._asdict() for step in cell.judged],
                "direct": cell.direct,
                "tunnel": cell.tunnelled,
            }
            for cell in cells
        ],
        indent=1,
    )


def chosen(only: str) -> tuple[list[str], list[str]]:
    """Return the clients and servers of `CLIENT,SERVER`, where either may be missing.

    Raises `ValueError` for a name that is neither.
    """
    names = [name for name in only.split(",") if name]
    unknown = [name for name in names if name not in (*clients.NAMES, *servers.NAMES)]
    if unknown:
        known = ", ".join((*clients.NAMES, *servers.NAMES))
        raise ValueError(f"{unknown[0]} is neither a client nor a server; known: {known}")
    wanted_clients = [name for name in clients.NAMES if name in names]
    wanted_servers = [name for name in servers.NAMES if name in names]
    return wanted_clients or list(clients.NAMES), wanted_servers or list(servers.NAMES)


def main() -> int:
    """Run the matrix, print it and return the exit code."""
    parser = argparse.ArgumentParser(description="Real MCP clients x real MCP servers.")
    parser.add_argument("--only", default="", metavar="NAME,...", help="these clients and servers")
    parser.add_argument("--direct-only", action="store_true", help="without the tunnel")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    options = parser.parse_args()
    try:
        client_names, server_names = chosen(options.only)
    except ValueError as error:
        parser.error(str(error))

    async def run() -> list[Cell]:
        pairs = list(product(client_names, server_names))
        return await run_matrix(pairs, through_tunnel=not options.direct_only)

    cells = anyio.run(run)
    print(as_json(cells) if options.json else table(cells))
    return 0 if all(passed(cell.judged) for cell in cells) else 1


if __name__ == "__main__":
    sys.exit(main())
