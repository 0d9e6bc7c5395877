"""Approvals from the agent's call to the upstream's side of the link, over a real relay.

The client is the test's own: it asks for an approval of every tool call, and judges permits by the
client's own code.
"""

import asyncio
import json
import os
import socket
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from shared.errors import ResetCode
from shared.jsonrpc.canonical import exact
from shared.keys import PrivateKey, key_fingerprint
from shared.permit import OWN_ANSWERS, PermitError, arguments_digest
from shared.wire.codec import decode_open, decode_whole, encode_reset
from shared.wire.frames import FLAG_END, FrameType
from tests.helpers.agent import META, Agent, Message, call
from tests.helpers.audit_log import records
from tests.helpers.raw_link import Member, RawLink, joined
from tests.integration.hostile import Stage
from tests.integration.scene import SERVER, Grant, Scene, eventually, open_scene
from tunnel_client.permits import Expectation, Permits
from tunnel_relay.keyfiles import read_relay_key

pytestmark = pytest.mark.system

ERAS = pytest.mark.parametrize("modern", [False, True], ids=["legacy", "modern"])
SHA, POLICY = "d" * 64, "e" * 64
RESULT = {"content": [{"type": "text", "text": "sent"}]}


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


@dataclass
class Gated:
    """A client that dispatches tool calls with a good permit only; `ran` is what it dispatched."""

    link: RawLink
    permits: Permits
    relay_key: bytes
    session: str
    keys: tuple[bytes, ...] = ()
    ran: list[Any] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    permit: str = ""
    policy: str = POLICY
    detail: dict[str, Any] = field(default_factory=dict)
    coming: dict[int, tuple[str, bytes]] = field(default_factory=dict)
    silent: bool = False
    unanswered: list[tuple[int, str, bytes]] = field(default_factory=list)

    async def run(self) -> None:
        """Serve until cancelled."""
        while True:
            kind, flags, stream, payload = await self.link.next_frame()
            if kind is FrameType.REQUEST:
                head, body = decode_whole(payload)
                self.judge(stream, decode_open(head).permit, body)
            elif kind is FrameType.OPEN:
                self.coming[stream] = (decode_open(payload).permit, b"")
            elif kind is FrameType.DATA and stream in self.coming:
                permit, body = self.coming[stream]
                self.coming[stream] = permit, body + payload
                if flags & FLAG_END:
                    self.judge(stream, permit, body + payload)

    def judge(self, stream: int, permit: str, body: bytes) -> None:
        if self.silent:
            self.unanswered.append((stream, permit, body))
            return
        message = exact(body)
        if message["method"] == "tools/call":
            self.permit = permit or self.permit
            try:
                self.permits.use(permit, self.expected(message["params"]))
            except PermitError as error:
                self.refused.append(error.kind if permit else "none")
                asked: dict[str, Any] = {
                    "rule": "r",
                    "class": "write",
                    "sha256": SHA,
                    "policy": self.policy,
                }
                asked |= {"groups": ["ops"], "keys": list(map(key_fingerprint, self.keys))}
                text = json.dumps(asked | self.detail)
                self.link.frame(
                    FrameType.RESET, stream, encode_reset(ResetCode.NEEDS_APPROVAL, text)
                )
                return
            self.ran.append(message["params"]["arguments"])
        answer = {"jsonrpc": "2.0", "id": message["id"], "result": RESULT}
        self.link.answer(stream, json.dumps(answer).encode())

    def answer_all(self) -> None:
        """Judge what was not answered, and answer at once from now on."""
        self.silent = False
        for each in self.unanswered:
            self.judge(*each)

    def expected(self, params: Any) -> Expectation:
        return Expectation(
            session=self.session,
            user="uma",
            agent="test",
            server=SERVER,
            tool=params["name"],
            definition=SHA,
            arguments=arguments_digest(params),
            policy=self.policy,
            tool_class="write",
            count=1,
            not_requester=True,
            keys=self.keys,
            relay_key=self.relay_key,
        )


@dataclass
class Office:
    """A relay, uma's agent, and pia who is asked."""

    scene: Scene
    session: Grant
    client: Gated
    console: str

    @property
    def agent(self) -> Agent:
        return self.session.agent

    async def waiting(self) -> list[dict[str, Any]]:
        shown = await self.scene.lab.relay_json("approval", "list")
        found: list[dict[str, Any]] = shown["approvals"]
        return found

    async def approve(self, which: str, *words: str, who: str = "PIA") -> None:
        told = ("approval", "approve", which, "--yes", "--token", f"env:{who}", *words)
        await self.scene.lab.relay_command(*told)

    async def told(self, message: Message) -> dict[str, Any]:
        """Return the result that the agent is told."""
        reply = await self.agent.ask(message)
        assert reply.status == 200, reply.body
        assert reply.document["id"] == message["id"]
        result: dict[str, Any] = reply.document["result"]
        return result


@asynccontextmanager
async def an_office(
    tmp_path: Path, relay: dict[str, object] | None = None, **how: Any
) -> AsyncIterator[Office]:
    port = free_port()
    tmp_path.chmod(0o700)  # noqa: ASYNC240 # a moment
    async with open_scene({"admin.port": str(port), **(relay or {})}, start=False) as scene:
        made = Stage(scene, Member())
        made.honest = await made.member()
        lab = scene.lab
        for who in ("uma", "pia", "paul"):
            roles = ("--role", "approver", "--group", "ops")
            await lab.relay_json("user", "add", who, "--no-password", *roles)
            token = await lab.relay_json("user", "token", who)
            lab.environment[who.upper()] = token["token"]
        session = await scene.grant(user="uma")
        key = read_relay_key(lab.folder / "relay" / "state" / "relay.key").public
        async with joined(made.port, made.honest) as link:
            link.catalog(SERVER)
            await scene.linked(1)
            client = Gated(link, Permits.open(tmp_path, time.time), key, session.id, **how)
            serving = asyncio.create_task(client.run())
            try:
                yield Office(scene, session, client, f"http://127.0.0.1:{port}")
            finally:
                serving.cancel()


@ERAS
async def test_a_gated_call_waits_for_a_person_and_runs_once(tmp_path: Path, modern: bool) -> None:
    """P19, P22, P24, P25: 50 repeats at a time, one of which runs."""
    async with an_office(tmp_path) as office:
        message = call("send", id=7, modern=modern, to="a@example.com")
        told = await office.told(message)
        assert told["isError"] is True
        (asked,) = await office.waiting()
        assert f"approval pending: {asked['id'][:12]}" in told["content"][0]["text"]
        await office.told(message)
        assert [each["id"] for each in await office.waiting()] == [asked["id"]]
        assert office.client.ran == []
        with pytest.raises(Exception, match="MT1122"):
            await office.approve(asked["id"], who="UMA")
        await office.approve(asked["id"])
        replies = await asyncio.gather(*(office.agent.ask(message) for _ in range(50)))
        results = [reply.document["result"] for reply in replies]
        assert results.count(RESULT) == 1
        assert all(each == RESULT or each["isError"] for each in results)
        assert [each["to"] for each in office.client.ran] == ["a@example.com"]
        assert not set(office.client.refused) - {"none"}


@ERAS
async def test_other_arguments_than_the_approved_do_not_run(tmp_path: Path, modern: bool) -> None:
    """P20, P40."""
    async with an_office(tmp_path) as office:
        message = call("send", modern=modern, to="a@example.com")
        await office.told(message)
        (asked,) = await office.waiting()
        await office.approve(asked["id"])
        for changed in (
            call("send", modern=modern, to="b@example.com"),
            call("send", modern=modern, to="a@example.com", bcc="b@example.com"),
            call("post", modern=modern, to="a@example.com"),
            answered(message, {"q": {"action": "accept", "content": {"to": "b"}}}),
        ):
            assert (await office.told(changed))["isError"] is True
        other = await office.scene.grant(user="uma")
        reply = await other.agent.ask(message)
        assert reply.document["result"]["isError"] is True
        assert office.client.ran == []
        assert await office.told(message) == RESULT


def answered(message: Message, answers: Any) -> Message:
    return {**message, "params": {**message["params"], "inputResponses": answers}}


async def test_a_policy_that_changes_in_between_takes_a_new_approval(tmp_path: Path) -> None:
    """P26: the client refuses the permit, and people are asked again."""
    async with an_office(tmp_path) as office:
        message = call("send", to="a@example.com")
        await office.told(message)
        (first,) = await office.waiting()
        await office.approve(first["id"])
        office.client.policy = "f" * 64
        assert (await office.told(message))["isError"] is True
        assert office.client.refused == ["none", "policy"]
        (second,) = await office.waiting()
        assert second["id"] != first["id"]
        await office.approve(second["id"])
        assert await office.told(message) == RESULT


async def test_a_relay_that_sends_a_permit_twice_is_refused(tmp_path: Path) -> None:
    """P22: the client remembers for itself, whatever the relay does."""
    async with an_office(tmp_path) as office:
        message = call("send", to="a@example.com")
        await office.told(message)
        (asked,) = await office.waiting()
        await office.approve(asked["id"])
        assert await office.told(message) == RESULT
        body = json.dumps(message).encode()
        office.client.judge(2**31, office.client.permit, body)
        assert office.client.refused[-1] == "used"
        assert len(office.client.ran) == 1


async def test_where_the_client_lists_keys_only_a_key_lets_a_call_run(tmp_path: Path) -> None:
    """T32: the word of the relay is not enough."""
    file = tmp_path / "pia.key"
    key = PrivateKey.generate()
    write_key(file, key)
    async with an_office(tmp_path, keys=(key.public,)) as office:
        message = call("send", to="a@example.com")
        await office.told(message)
        (asked,) = await office.waiting()
        with pytest.raises(Exception, match="MT1125"):
            await office.approve(asked["id"])
        await office.approve(asked["id"], "--key", str(file))
        assert await office.told(message) == RESULT
        assert key_fingerprint(key.public) in office.client.permit


def write_key(file: Path, key: PrivateKey) -> None:
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT, 0o600)
    os.write(descriptor, key.to_pem().get_secret_value().encode())
    os.close(descriptor)


async def test_a_modern_agent_is_led_to_the_page_and_repeats_the_call(tmp_path: Path) -> None:
    async with an_office(tmp_path) as office:
        message = call("send", to="a@example.com")
        capabilities: dict[str, Any] = {"elicitation": {"url": {}}}
        message["params"]["_meta"][META + "clientCapabilities"] = capabilities
        told = await office.told(message)
        assert told["resultType"] == "input_required"
        ((key, request),) = told["inputRequests"].items()
        (asked,) = await office.waiting()
        assert request["params"]["url"] == f"{office.console}/approvals/{asked['id']}"
        seen = answered(message, {key: {"action": "accept"}})
        assert key == OWN_ANSWERS + asked["id"]
        assert (await office.told(seen))["isError"] is True
        await office.approve(asked["id"])
        assert await office.told(seen) == RESULT


async def test_an_agent_that_leaves_while_people_are_asked_harms_nothing(tmp_path: Path) -> None:
    async with an_office(tmp_path) as office:
        message = call("send", to="a@example.com")
        async with office.agent.open(message):
            await eventually(lambda: office.client.refused)
        await eventually(office.waiting)
        (asked,) = await office.waiting()
        await office.approve(asked["id"])
        assert await office.told(message) == RESULT


async def test_what_needs_an_approval_and_cannot_get_one_is_told_so(tmp_path: Path) -> None:
    """P28: a megabyte of arguments. And what is large enough to be counted is let go of again."""
    async with an_office(tmp_path) as office:
        office.client.detail = {"groups": []}
        told = await office.told(call("send", to="a@example.com"))
        assert "nobody could give it" in told["content"][0]["text"]
        office.client.detail = {}
        for number in range(5):
            message = call("send", id=number, text=f"{number}" + "x" * 100_000)
            assert (await office.told(message))["isError"] is True
        assert len(await office.waiting()) == 5
        assert office.client.ran == []


async def test_what_is_kept_for_an_approval_counts_until_the_answer_begins(tmp_path: Path) -> None:
    """P29: an agent cannot have the relay hold more than its share by calling slow tools."""
    share: dict[str, object] = {
        "limits.body_bytes": "200000",
        "limits.session_body_bytes": "250000",
    }
    async with an_office(tmp_path, relay=share) as office:
        office.client.silent = True
        slow = call("send", id=1, text="x" * 100_000)
        async with office.agent.open(slow), office.agent.open(slow):
            await eventually(lambda: len(office.client.unanswered) == 2)
            refused = await office.agent.ask(call("send", id=2, text="y" * 100_000))
            assert refused.status == 429
            office.client.answer_all()
        told = await office.told(call("send", id=3, text="z" * 100_000))
        assert "approval pending" in told["content"][0]["text"]


async def test_what_ends_by_time_while_no_relay_runs_is_told_once_by_the_next(
    tmp_path: Path,
) -> None:
    """A09: asked for, and killed: the log says that it came to nothing, and when."""
    async with an_office(tmp_path) as office:
        lab = office.scene.lab
        audit = lab.folder / "relay" / "state" / "audit"
        office.client.detail = {"ttl": 1.5}
        assert (await office.told(call("send", to="a@example.com")))["isError"] is True
        await eventually(lambda: len(records(audit, "approval.asked")) == 1)
        assert lab.relay is not None
        lab.relay.kill()
        await lab.relay.wait()
        (asked,) = records(audit, "approval.asked")
        assert records(audit, "approval.expired") == []
        await asyncio.sleep(max(0.0, asked["expires"] + 1 - time.time()))
        for _ in range(2):
            await lab.start_relay()
            await eventually(lambda: len(records(audit, "approval.expired")) == 1)
            await lab.stop()
        (ended,) = records(audit, "approval.expired")
        assert ended["approval"] == asked["approval"]
        assert (ended["who"], ended["what"]) == (asked["who"], asked["what"])
        assert ended["reason"] == "its time is over"
        assert ended["expires"] == asked["expires"] <= ended["time"] / 1e6
