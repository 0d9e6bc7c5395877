"""A running client and the commands beside it: what is pinned is known to both."""

import json
from typing import Any

import anyio

from tests.helpers.shifty_server import shifty
from tests.helpers.tunnel import HttpUpstream, Lab, make_lab
from tests.tunnel_client.catalog.test_catalog import ADD, DROP


async def tools(lab: Lab) -> dict[str, Any]:
    shown = json.loads(await lab.client_command("status", "--json"))
    found: dict[str, Any] = shown["tools"]["desk"]
    return found


async def until(lab: Lab, **wanted: object) -> None:
    with anyio.fail_after(30):
        while not wanted.items() <= (await tools(lab)).items():  # noqa: ASYNC110 - another process
            await anyio.sleep(0.05)


async def test_a_running_client_takes_in_what_a_command_pins() -> None:
    async with (
        shifty(tools=[ADD, DROP], modern=False) as server,
        make_lab({"desk": HttpUpstream(server.url)}, start=False) as lab,
    ):
        config = lab.client_config.read_text()
        lab.client_config.write_text(
            config.replace("catalog_at_start = false\n", "").replace('pinning = "off"\n', "")
        )
        await lab.start_client(["desk"])
        await until(lab, new=2, pinned=0, flagged=0, listed=True, pinning="required")
        assert server.asked.count("DELETE") == 1
        await lab.client_command("tool", "pin", "desk", "add", "--yes")
        await until(lab, new=1, pinned=1)
        await lab.client_command("tool", "classify", "desk", "add", "admin")
        listed = json.loads(await lab.client_command("tool", "list", "--json"))
        assert listed["upstreams"]["desk"]["tools"][0]["class"] == "admin"
