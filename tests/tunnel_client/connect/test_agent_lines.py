"""Lines over real pipes."""

import os

import anyio
import anyio.lowlevel
import pytest

from tests.tunnel_client.connect.making import pipes
from tunnel_client.connect.agent_lines import AgentGoneError, AgentLines


async def test_lines_come_whole_and_one_that_is_too_long_is_only_counted() -> None:
    async with pipes() as agent:
        lines = AgentLines(*agent.ends, max_line=1000)
        agent.send(b"a")
        agent.send(b"x" * 1001)
        agent.send(b"b" * 1000)
        agent.send(b"")
        agent.leave()
        with anyio.fail_after(10):
            found = [line async for line in lines.lines()]
        assert found == [b"a", None, b"b" * 1000, b""]


async def test_more_lines_than_are_read_ahead_all_come() -> None:
    async with pipes() as agent:
        lines = AgentLines(*agent.ends)
        agent.send(b"\n".join(b"%d" % number for number in range(500)))
        agent.leave()
        with anyio.fail_after(10):
            assert [line async for line in lines.lines()] == [b"%d" % n for n in range(500)]


async def test_lines_are_written_whole_and_in_order() -> None:
    async with pipes() as agent:
        lines = AgentLines(*agent.ends)
        async with anyio.create_task_group() as tasks:
            for number in range(20):
                tasks.start_soon(lines.write, b"%03d" % number * 100_000)
            for number in range(20):
                assert await agent.line() == b"%03d" % number * 100_000 + b"\n"


async def test_an_agent_that_reads_no_more_is_noticed() -> None:
    async with pipes() as agent:
        lines = AgentLines(*agent.ends)
        agent.stop_reading()
        await anyio.lowlevel.checkpoint()  # the transport closes its descriptor in the next turn
        with anyio.fail_after(10), pytest.raises(AgentGoneError):
            await lines.write(b"x")
        with pytest.raises(AgentGoneError):
            await lines.write(b"x")


async def test_the_last_words_without_a_line_end_are_no_message() -> None:
    async with pipes() as agent:
        lines = AgentLines(*agent.ends)
        agent.send(b"whole")
        agent.send_raw(b"half")
        agent.leave()
        with anyio.fail_after(10):
            assert [line async for line in lines.lines()] == [b"whole"]


async def test_a_descriptor_that_cannot_be_read_is_an_agent_that_left() -> None:
    _, outgoing = ends = os.pipe()
    try:
        with anyio.fail_after(10):
            assert [line async for line in AgentLines(outgoing, outgoing).lines()] == []
    finally:
        for end in ends:
            os.close(end)
