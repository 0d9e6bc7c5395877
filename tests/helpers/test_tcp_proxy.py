"""The proxy that stands for a bad network keeps bytes in order and draws the same dice again."""

import asyncio
import contextlib

import anyio

from tests.helpers.tcp_proxy import TcpProxy


async def test_bytes_arrive_whole_and_in_order_however_they_are_held() -> None:
    sent = b"".join(b"%08d" % number for number in range(20_000))

    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65536):
            writer.write(data)
        writer.close()

    server = await asyncio.start_server(echo, "127.0.0.1", 0)
    async with server, TcpProxy(server.sockets[0].getsockname()[1]) as proxy:
        proxy.delay, proxy.jitter, proxy.rate = 0.002, 0.002, 4_000_000.0
        reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
        writer.write(sent)
        assert await reader.readexactly(len(sent)) == sent
        writer.close()


async def test_one_way_stands_still_while_the_other_goes_on() -> None:
    arrived = asyncio.Event()

    async def greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"down")
        await reader.readexactly(2)
        arrived.set()
        writer.close()

    server = await asyncio.start_server(greet, "127.0.0.1", 0)
    async with server, TcpProxy(server.sockets[0].getsockname()[1]) as proxy:
        proxy.stall("up")
        reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
        writer.write(b"up")
        assert await reader.readexactly(4) == b"down"
        assert not arrived.is_set()
        proxy.resume()
        await arrived.wait()
        writer.close()


async def test_a_connection_whose_target_is_still_dialled_ends_with_the_proxy() -> None:
    async def hold(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    server = await asyncio.start_server(hold, "127.0.0.1", 0)
    async with server:
        async with TcpProxy(server.sockets[0].getsockname()[1]) as proxy:
            reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
            while not proxy.taken:  # noqa: ASYNC110 - no turn of the loop later than that
                await asyncio.sleep(0)
        with anyio.fail_after(30), contextlib.suppress(ConnectionResetError):
            assert await reader.read() == b""
        writer.close()


def test_the_same_seed_draws_the_same_delays() -> None:
    drawn = []
    for _ in range(2):
        proxy = TcpProxy(seed=7)
        proxy.delay, proxy.jitter = 0.1, 0.05
        drawn.append([proxy.drawn() for _ in range(5)])
    assert drawn[0] == drawn[1]
    assert all(0.05 <= each <= 0.15 for each in drawn[0])
