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


def with_pins(lab: Lab) -> None:
    """Let the client want pins, and list its upstreams at its start."""
    config = lab.client_config.read_text()
    lab.client_config.write_text(config.replace('pinning = "off"\ncatalog_at_start = false', ""))


async def until(lab: Lab, **wanted: object) -> None:
    with anyio.fail_after(30):
        while not wanted.items() <= (await tools(lab)).items():  # noqa: ASYNC110 - another process
            await anyio.sleep(0.05)


async def test_a_running_client_takes_in_what_a_command_pins() -> None:
    async with (
        shifty(tools=[ADD, DROP], modern=False) as server,
        make_lab({"desk": HttpUpstream(server.url)}, start=False) as lab,
    ):
        with_pins(lab)
        await lab.start_client(["desk"])
        await until(lab, new=2, pinned=0, flagged=0, listed=True, pinning="required")
        assert server.asked.count("DELETE") == 1
        await lab.client_command("tool", "pin", "desk", "add", "--yes")
        await until(lab, new=1, pinned=1)
        await lab.client_command("tool", "classify", "desk", "add", "admin")
        listed = json.loads(await lab.client_command("tool", "list", "--json"))
        assert listed["upstreams"]["desk"]["tools"][0]["class"] == "admin"


async def test_the_relay_tells_what_the_client_pinned_and_what_changed() -> None:
    """Both programs' commands: lists, one tool, counts, the map of permissions, the status."""
    async with (
        shifty(tools=[ADD, DROP], modern=False) as server,
        make_lab({"desk": HttpUpstream(server.url)}, start=False) as lab,
    ):
        with_pins(lab)
        await lab.client_command("tool", "pin", "desk", "add", "--yes", "--class", "write")
        await lab.start_client(["desk"])
        await until(lab, new=1, pinned=1)

        async def told() -> dict[str, Any]:
            listed = await lab.relay_json("tool", "list", "lab/desk")
            return {each["tool"]: (each["class"], each["state"]) for each in listed["tools"]}

        with anyio.fail_after(30):
            while await told() != {"add": ("write", "pinned"), "drop": (None, "new")}:  # noqa: ASYNC110
                await anyio.sleep(0.05)
        shown = await lab.relay_command("tool", "show", "lab/desk", "add")
        assert '"name": "add"' in shown
        assert "lab: 1 pinned, 1 new" in await lab.relay_command("status")
        who = ("policy", "test", "--user", "ada", "--agent", "test")
        rows = (await lab.relay_json(*who))["map"]
        assert [row["what"] for row in rows if row["what"] in ("add", "drop")] == ["add"]
        status = await lab.client_command("status")
        assert "connected to http" in status or "connected to ws" in status
        assert "permits  signed by the relay" in status
        assert "tunnel-client tool pin desk" in status
        await lab.relay_command("check-config")
        await lab.client_command("check-config")
