"""A relay without its client: tests are the client, enrolled by the public endpoint."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import anyio

from shared.keys import encode_public
from tests.helpers.agent import Agent, Message, Reply, call
from tests.helpers.raw_link import Member, RawLink, joined
from tests.helpers.tunnel import TUNNEL
from tests.integration.scene import SERVER, Scene, eventually


@dataclass
class Stage:
    """A running relay; `honest` is a client that breaks no rule."""

    scene: Scene
    honest: Member

    @property
    def port(self) -> int:
        return self.scene.lab.port

    @property
    def origin(self) -> str:
        return f"ws://127.0.0.1:{self.port}"

    @property
    def agent(self) -> Agent:
        return self.scene.agent

    async def member(self) -> Member:
        """Enrol another client."""
        made = await self.scene.lab.relay_json("tunnel", "rotate", TUNNEL)
        member = Member()
        reply = await enrol(self.port, made["join_code"], member)
        while reply.status == 429:
            await asyncio.sleep(0.05)
            reply = await enrol(self.port, made["join_code"], member)
        assert reply.status == 200, reply.body
        return member

    async def alive(self) -> None:
        """See that the relay still takes a link and carries a call over it."""
        async with joined(self.port, self.honest) as link:
            link.catalog(SERVER)
            async with self.agent.open(call("echo", id=77)) as reply:
                link.answer(await link.opened(), b'{"alive":true}')
                assert (await reply.end()).body == b'{"alive":true}'
        await eventually(self._unlinked)

    async def _unlinked(self) -> bool:
        return bool((await self.scene.ready())["links"] == 0)

    async def instance(self, member: Member, link: RawLink | None = None) -> dict[str, Any]:
        """Return what admins see of a client, whose link lives meanwhile."""
        asked = self.scene.lab.relay_json("tunnel", "show", TUNNEL)
        shown = await (asked if link is None else link.meanwhile(asked))
        (found,) = [one for one in shown["tunnel"]["instances"] if one["id"] == member.instance]
        assert isinstance(found, dict)
        return found


async def enrol(
    port: int, code: str, member: Member, headers: list[tuple[str, str]] | None = None, **more: Any
) -> Reply:
    """Send a join code and a key; returns the relay's answer."""
    body: Message = {
        "join_code": code,
        "public_key": encode_public(member.key.public),
        "instance": member.instance,
        "origin": f"ws://127.0.0.1:{port}",
        "host": {"name": "raw", "platform": "test", "version": "0"},
    }
    endpoint = Agent(port, "/tunnel/enroll", None)
    with anyio.fail_after(20):
        return await endpoint.ask(json.dumps(body | more).encode(), headers=headers or [])


async def patiently(attempt: Callable[[], Awaitable[Reply]]) -> Reply:
    """Repeat an enrolment that came too soon after others."""
    with anyio.fail_after(20):
        while True:
            reply = await attempt()
            if reply.status != 429:
                return reply
            await asyncio.sleep(0.05)
