"""Connects to an HTTP upstream: one look-up, and then one judged address after the other."""

import asyncio
from collections.abc import Callable

import anyio

from tunnel_client.upstream.egress import EgressError, look_up, same_place
from tunnel_client.upstream.http_target import HttpTarget

_PATIENCE = 2.0
"""Seconds for an address that does not answer while there are others to try."""


async def dial(target: HttpTarget, protocol: Callable[[str], asyncio.Protocol]) -> None:
    """Connect to the first address that takes us; raises OSError and EgressError.

    `protocol` gets the address; it must not use a connection whose peer is another. The caller
    bounds the whole. No proxy of the environment has a say here.
    """
    addresses = await look_up(target.host, target.port, target.egress)
    problem: OSError = EgressError("the upstream's name has no address")
    for at, address in enumerate(addresses):
        last = at == len(addresses) - 1
        try:
            with anyio.fail_after(None if last else _PATIENCE):
                await _connect(target, address, protocol)
            return
        except OSError as error:
            problem = error
    raise problem


async def _connect(
    target: HttpTarget, address: str, protocol: Callable[[str], asyncio.Protocol]
) -> None:
    loop = asyncio.get_running_loop()
    transport, _ = await loop.create_connection(
        lambda: protocol(address),
        address,
        target.port,
        ssl=target.tls,
        server_hostname=target.host if target.tls is not None else None,
    )
    if not same_place(address, transport.get_extra_info("peername")):
        transport.abort()
        raise EgressError("somebody else answered at the upstream's address")
