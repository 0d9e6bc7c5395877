"""Run one client program against one server and collect its rows."""

import json
import os
import signal
import subprocess
import tempfile
from contextlib import suppress
from pathlib import Path

import anyio

from tests.helpers.tunnel import RunningTunnel
from tests.peers import pipes
from tests.peers.clients import ROOT, PeerClient
from tests.peers.scenario import Row, Target
from tests.peers.servers import HttpUpstream, Server

CELL_SECONDS = 150.0
REAP_SECONDS = 5.0


async def run_cell(client: PeerClient, server: Server, tunnel: RunningTunnel | None) -> list[Row]:
    """Run a client against a server, through the tunnel when there is one.

    Returns a row for every step that was reached or that the server has nothing for.
    """
    if server.messages is not None:
        server.messages.unlink(missing_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        target = _write_target(Path(folder), server, tunnel)
        try:
            rows = await _run_program([*client.argv, str(target)], Path(folder))
        finally:
            for pipe in server.pipes:
                pipes.release_readers(pipe)
    if client.cancels and server.messages is not None:
        await _check_that_the_server_heard(rows, server)
    for step, why in server.skipped.items():
        rows.append({"step": step, "outcome": "skip", "detail": why, "era": None})
    return rows


def _write_target(folder: Path, server: Server, tunnel: RunningTunnel | None) -> Path:
    target: Target = {"server": server.name, "steps": server.steps}
    if tunnel is not None:
        secret = folder / "token"
        secret.touch(mode=0o600)
        secret.write_text(tunnel.token.get_secret_value(), encoding="ascii")
        target["url"] = tunnel.url
        target["token_file"] = str(secret)
    elif isinstance(server.upstream, HttpUpstream):
        target["url"] = server.upstream.url
    else:
        target["argv"] = list(server.upstream.argv)
    path = folder / "target.json"
    path.write_text(json.dumps(target), encoding="utf-8")
    return path


async def _run_program(argv: list[str], folder: Path) -> list[Row]:
    out, err = folder / "out", folder / "err"
    with out.open("wb") as stdout, err.open("wb") as stderr:
        process = await anyio.open_process(
            argv,
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=stdout,
            stderr=stderr,
            start_new_session=True,
        )
        with anyio.move_on_after(CELL_SECONDS) as deadline:
            await process.wait()
        # The whole group: a stdio server must not outlive the client that started it.
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        with anyio.fail_after(REAP_SECONDS):
            await process.wait()
    rows: list[Row] = [json.loads(line) for line in out.read_text("utf-8").splitlines()]
    if deadline.cancelled_caught or process.returncode != 0 or not rows:
        how = "took too long" if deadline.cancelled_caught else f"exit {process.returncode}"
        last_words = err.read_text("utf-8", errors="replace")[-300:].strip()
        detail = f"{how}: {last_words}"
        rows.append({"step": "close", "outcome": "fail", "detail": detail, "era": None})
    return rows


async def _check_that_the_server_heard(rows: list[Row], server: Server) -> None:
    for row in rows:
        cancelled = row["step"] == "cancel" and row["outcome"] == "ok"
        if cancelled and not await pipes.cancel_heard(server.steps["cancel"]):
            row["outcome"] = "fail"
            row["detail"] = "the server was never told of the cancelled call"
