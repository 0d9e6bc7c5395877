"""Hold many idle links to one relay, each of an enrolled instance of its own, in one process.

Reads one JSON line (`relay`, `ca_file`, `socket`, `tunnel`, `folder`, `count`), says READY when all
links are up, and ends with its input. A process per link would only fill this machine's memory.
"""

import http.client
import json
import os
import socket
import sys
import time
from pathlib import Path
from typing import Any

import anyio
import uvloop

from shared.keys import decode_public
from tunnel_client.app import configure_logging
from tunnel_client.audit.calls import Calls
from tunnel_client.catalog.catalog import Catalog
from tunnel_client.catalog.pins import Pins
from tunnel_client.client import Client
from tunnel_client.enroll import check_code, enroll, plan_from
from tunnel_client.identity import Identity
from tunnel_client.judge import Judge
from tunnel_client.permit_desk import PermitDesk
from tunnel_client.permits import Permits
from tunnel_client.policy.load import load_policy
from tunnel_client.settings import POLICY_FILE

READY_SECONDS = 60


class ControlConnection(http.client.HTTPConnection):
    """HTTP over the relay's control socket."""

    def __init__(self, path: str) -> None:
        super().__init__("relay", timeout=20)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(20)
        self.sock.connect(self._path)


def new_join_code(control: str, tunnel: str) -> str:
    """Ask the relay for a join code; RuntimeError when it refuses."""
    connection = ControlConnection(control)
    try:
        connection.request("POST", "/v1/tunnel_rotate", json.dumps({"name": tunnel}))
        response = connection.getresponse()
        answer = json.loads(response.read())
    finally:
        connection.close()
    if response.status != 200:
        raise RuntimeError(f"the relay gave no join code: {response.status}")
    code: str = answer["result"]["join_code"]
    return code


async def _enrolled(spec: dict[str, Any], number: int) -> Client:
    folder = Path(spec["folder"]) / str(number)
    folder.mkdir(parents=True, mode=0o700)
    plan = plan_from(
        spec["relay"],
        config=folder / "client.toml",
        state_dir=folder / "state",
        ca_file=Path(spec["ca_file"]) if spec["ca_file"] else None,
        proxy="none",
        proxy_auth=None,
        force=False,
        environ=os.environ,
    )
    code = check_code(new_join_code(spec["socket"], spec["tunnel"]))
    enrolled = await enroll(plan, code)
    key = decode_public(enrolled.relay_key)
    policy = load_policy(plan.config.parent / POLICY_FILE)
    return Client(
        [plan.target],
        enrolled.tunnel,
        key,
        Identity.read(plan.state_dir),
        {},
        Judge(lambda: policy.policy, Catalog(Pins(plan.state_dir), ())),
        PermitDesk(Permits.open(plan.state_dir, time.time), key),
        Calls(),
    )


async def hold(spec: dict[str, Any]) -> None:
    """Open the links, say READY, and keep them until the input ends."""
    async with anyio.create_task_group() as tasks:
        for number in range(spec["count"]):
            client = await _enrolled(spec, number)
            tasks.start_soon(client.run)
            with anyio.fail_after(READY_SECONDS):
                while not client.links:  # noqa: ASYNC110  there is no event to wait for
                    await anyio.sleep(0.002)
        print("READY", flush=True)
        await anyio.to_thread.run_sync(sys.stdin.read, abandon_on_cancel=True)
        tasks.cancel_scope.cancel()


if __name__ == "__main__":
    configure_logging()  # to the error stream: READY has the other one to itself
    uvloop.run(hold(json.loads(sys.stdin.readline())))
