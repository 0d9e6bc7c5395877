"""What one link of a client learns of relays that have too much to do."""

import time
from pathlib import Path

import anyio
import pytest

from shared.errors import CloseCode
from shared.keys import PrivateKey
from tests.helpers.raw_relay import RawRelay, raw_relay
from tests.helpers.upstream_peer import eventually
from tests.shared.policy.texts import policy
from tunnel_client.audit.calls import Calls
from tunnel_client.catalog.catalog import Catalog
from tunnel_client.catalog.pins import Pins
from tunnel_client.client import Client
from tunnel_client.dial import DialTarget
from tunnel_client.identity import Identity
from tunnel_client.judge import Judge
from tunnel_client.permit_desk import PermitDesk
from tunnel_client.permits import Permits
from tunnel_client.relay_url import RelayUrl

pytestmark = pytest.mark.asyncio

TOO_MANY_REQUESTS = 429


def client_of(relay: RawRelay, jitter: list[float]) -> Client:
    """Make a client with one link; `jitter` holds the number that it draws."""
    state, key = relay.state_dir, relay.key.public
    rules = policy('- {id: all, match: {method: "*"}, effect: allow}')
    return Client(
        [DialTarget(RelayUrl.parse(relay.url), proxy="none")],
        "lab",
        key,
        Identity.read(state),
        {},
        Judge(lambda: rules, Catalog(Pins(state), ())),
        PermitDesk(Permits.open(state, time.time), key),
        Calls(),
        jitter=lambda: jitter[0],
    )


async def test_refusals_are_forgotten_with_a_link_and_with_the_relay_that_went(
    tmp_path: Path,
) -> None:
    Identity.create(tmp_path).save()
    async with raw_relay(PrivateKey.generate(), tmp_path) as relay:
        relay.shut, relay.refuses = True, TOO_MANY_REQUESTS
        jitter = [0.0]
        client = client_of(relay, jitter)
        counts = client._kept[0]._reconnect
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(client.run)
            await eventually(lambda: counts.crowded >= 3)
            assert counts.failures == 0
            relay.shut = False
            await eventually(lambda: len(relay.links) == 1)
            await eventually(lambda: counts.crowded == 0)
            # It serves while the client dials for another, in vain and ever more slowly.
            jitter[0], relay.shut = 1.0, True
            relay.links[0].driver.drain("another version is installed")
            await eventually(lambda: counts.crowded == 3)
            relay.links[0].driver.close(CloseCode.GOING_AWAY, "the relay stops")
            await eventually(lambda: counts.crowded < 3)
            relay.shut = False
            await eventually(lambda: len(relay.links) == 2)
            tasks.cancel_scope.cancel()
