"""The demo as a newcomer starts it, to its end; what it prints is what the README promises."""

import asyncio
import os
import re
import signal
import sys
from pathlib import Path

import anyio
import pytest

from tests.helpers.stage import aligned, descendants, processes
from tests.helpers.tunnel import end

pytestmark = [pytest.mark.system, pytest.mark.slow]

ROOT = Path(__file__).resolve().parents[2]
DEMO_SECONDS = 180
KEY_LINES = (
    r"tunnel-relay init --demo ",
    r"tunnel-client enroll wss://localhost:\d+ --ca-file \S+ ",
    r"Enrolled in tunnel office; relay key [0-9a-f]{16} is pinned\.",
    r"write +open_ticket +Open a ticket",
    r"pinned 3 of its tools",
    r"export_tickets is read now",
    r"agreed; anything that changes is asked about again \(time\)",
    r"policy\.yaml: 5 rules",
    r"time speaks MCP 2026-07-28; tools: get_current_time, convert_time",
    r"page 3 of 3 after ",
    r"older agent: MCP 2025-11-25",
    r"approval pending: [0-9a-f]{12}\. ",
    r'"title": "An agent was here"\n',
    r"[0-9a-f]{12} is approved \(1 of 1 approvals\)",
    r"#3 \[open\] An agent was here",
    r"git_log: \d{3,} KiB, first to last commit",
    r"claude mcp add --transport http office-tickets https://localhost:\d+/t/office/tickets/mcp",
    r"revoked; cut 1 streams on 2 links in \d+ ms",
    r"JSON-RPC error -31003: ",
    r"tickets, raw: HTTP 401",
    r"Everything worked, in ",
)


async def start(*arguments: str) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.system.demo", *arguments),
        cwd=ROOT,
        # Settings of the person who runs it must not reach the demo.
        env={**os.environ, "TUNNEL_RELAY_LISTEN__PORT": "1", "TUNNEL_CLIENT_STATE_DIR": "/"},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        start_new_session=True,
    )


async def test_the_demo_works_from_the_first_step_to_the_last() -> None:
    demo = await start("--once")
    try:
        with anyio.fail_after(DEMO_SECONDS):
            out, err = await demo.communicate()
    finally:
        await end(demo)
    said = out.decode()
    assert demo.returncode == 0, said + err.decode()
    assert err == b""
    missing = [line for line in KEY_LINES if not re.search(line, said)]
    assert missing == [], said
    # A terminal's history is no place for tokens.
    assert not re.search(r"mt[saj]_[A-Za-z0-9_-]{43}", said)


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_a_signal_ends_it_in_order_and_leaves_no_process(number: signal.Signals) -> None:
    demo = await start()
    assert demo.stdout is not None
    try:
        with anyio.fail_after(DEMO_SECONDS):
            while b"the link is up" not in await demo.stdout.readline():
                assert demo.returncode is None
            started = descendants(demo.pid)
            for _ in range(3):
                demo.send_signal(number)
            rest, err = await demo.communicate()
    finally:
        await end(demo)
    assert demo.returncode == 0, rest.decode() + err.decode()
    assert started
    assert not set(started) & set(processes())


def test_listings_stand_in_columns() -> None:
    assert aligned(["A\tB", "one\ttwo", "no table", ""]) == [
        "A    B",
        "one  two",
        "no table",
        "",
    ]


@pytest.mark.slow
async def test_a_reader_that_leaves_ends_it_and_leaves_no_process() -> None:
    demo = await start()
    assert demo.stdout is not None
    try:
        with anyio.fail_after(DEMO_SECONDS):
            while b"the link is up" not in await demo.stdout.readline():
                assert demo.returncode is None
            started = descendants(demo.pid)
            assert started
            # As `make demo | head` does. The pipe is closed at once, not when the rest is read.
            demo._transport.get_pipe_transport(1).close()  # type: ignore[attr-defined]
            await demo.wait()
    finally:
        await end(demo)
    assert demo.returncode == 1
    assert not set(started) & set(processes())
