"""A relay in other hands, in front of the real client program: what it still cannot do (T32).

It holds the relay's key, so it may sign grants for whomever it likes. What is above a client's own
policy, pins and permits stays out of its reach, and the client says so in its log.
"""

import json
import os
import signal
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from shared.errors import ResetCode
from shared.grant import Grant
from shared.ids import new_id
from shared.keys import PrivateKey, encode_public, key_fingerprint
from shared.permit import Permit, Signed, approver_message, arguments_digest, passkey_challenge
from shared.policy.classes import ToolClass
from shared.policy.document import read_policy
from shared.wire.codec import OpenHead, encode_open
from shared.wire.frames import encode_message
from tests.helpers.agent import call, request
from tests.helpers.passkeys import SoftPasskey
from tests.helpers.raw_relay import RawRelay, RawRelayLink, raw_relay
from tests.helpers.recording_upstream import RecordingUpstream
from tests.helpers.tunnel import TUNNEL
from tests.integration.policies import POLICY, Desk, open_desk
from tests.integration.scene import OTHER, SERVER, eventually
from tests.integration.test_link_attacks import frame
from tests.shared.link.ends import Lane
from tunnel_client.catalog.definitions import Kind
from tunnel_client.catalog.pins import read_pins
from tunnel_relay.keyfiles import read_relay_key

pytestmark = [pytest.mark.system, pytest.mark.asyncio(loop_scope="module")]

SESSION = "0123456789abcdef" * 2
PIA = PrivateKey.generate()
KEYS = f"approver_keys: {{pia: {encode_public(PIA.public)}}}\n"
SIGNED_POLICY = POLICY.replace("rules:", KEYS + "rules:", 1)


@dataclass
class Taken:
    """A client whose relay is in other hands."""

    desk: Desk
    relay: RawRelay
    link: RawRelayLink = field(init=False)

    @property
    def state(self) -> Path:
        return self.desk.lab.folder / "client" / "state"

    async def start(self) -> None:
        """Run the client, after a kill -9 if it ran."""
        lab, before = self.desk.lab, len(self.relay.links)
        if lab.client is not None:
            os.killpg(lab.client.pid, signal.SIGKILL)
            await lab.client.wait()
        lab.client = await lab._start("tunnel-client", "run", lab.client_config, "client.log")
        self.link = await self.relay.linked(before + 1)
        self.grant()

    def grant(self, **changed: Any) -> None:
        """Grant a session whatever there is to grant."""
        now = time.time()
        made = Grant(
            session=SESSION,
            user="ada",
            agent="test",
            tunnel=TUNNEL,
            upstream=SERVER,
            groups=("approvers", "admins", "ops"),
            classes=(),
            issued=now,
            expires=now + 600,
            instance=self.link.instance,
            epoch=self.link.epoch,
        )
        self.link.driver.grant(self.link.signed(replace(made, **changed)))

    async def ask(self, message: Any, permit: str = "", upstream: str = SERVER) -> Lane:
        """Open a stream and wait for how it ends."""
        lane = self.link.call(SESSION, upstream, message, permit)
        await eventually(lambda: lane.resets or lane.ended or self.link.lost)
        return lane

    async def call(self, tool: str, case: str, permit: str = "", **arguments: Any) -> Lane:
        return await self.ask(call(tool, case=case, modern=False, **arguments), permit)

    def permit(self, case: str, **changed: Any) -> Permit:
        """Make what a permit for `send_mail` has to say."""
        pin = read_pins(self.state)[SERVER, Kind.TOOL, "send_mail"]
        now = int(time.time())
        params = call("send_mail", case=case, modern=False)["params"]
        text = self.desk.file("client").read_text()
        made = Permit(
            id=new_id(),
            session=SESSION,
            user="ada",
            agent="test",
            server=SERVER,
            tool="send_mail",
            definition=pin.sha256,
            arguments=arguments_digest(params),
            policy=read_policy(text, "policy").digest,
            tool_class="external_send",
            issued=now,
            expires=now + 300,
        )
        return replace(made, **changed)

    def vouched(self, permit: Permit, *approvers: str) -> str:
        return Signed(permit, approvers or ("pia",), {}).vouched(self.relay.key).text()

    def by_pia(self, permit: Permit) -> str:
        made = {key_fingerprint(PIA.public): PIA.sign(approver_message(permit))}
        return Signed(permit, ("pia",), made).vouched(self.relay.key).text()

    def said(self) -> str:
        return self.desk.scene.log("client.log")


@asynccontextmanager
async def taken_over(
    upstream: RecordingUpstream | None = None, prepare: Callable[[Desk], None] = lambda _: None
) -> AsyncIterator[Taken]:
    async with open_desk(upstream, start=False) as desk:
        prepare(desk)
        lab = desk.lab
        key = read_relay_key(lab.folder / "relay" / "state" / "relay.key")
        async with raw_relay(key, lab.folder / "client" / "state") as relay:
            lab.environment["TUNNEL_CLIENT_RELAY__URL"] = f"ws://127.0.0.1:{relay.port}"
            made = Taken(desk, relay)
            await made.start()
            yield made


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def taken() -> AsyncIterator[Taken]:
    async with taken_over() as made:
        yield made


@pytest_asyncio.fixture(loop_scope="module")
async def fresh(taken: Taken) -> Taken:
    if taken.link.lost:
        await taken.start()
    else:
        taken.grant()
    return taken


def document(lane: Lane) -> Any:
    return json.loads(bytes(lane.body))


def needs_approval(lane: Lane) -> bool:
    return [code for code, _ in lane.resets] == [ResetCode.NEEDS_APPROVAL]


async def test_it_may_do_what_the_client_allows_to_everybody(fresh: Taken) -> None:
    lane = await fresh.call("get_ticket", "allowed")
    assert "result" in document(lane)
    assert fresh.desk.reached("allowed") == 1


@pytest.mark.parametrize("classes", [(), (ToolClass.ADMIN,), tuple(ToolClass)])
async def test_it_reaches_no_tool_above_the_clients_own_limit_t32(
    fresh: Taken, classes: tuple[ToolClass, ...]
) -> None:
    """T32: whatever classes it grants."""
    fresh.grant(classes=classes)
    for tool in ("purge", "unlisted", "Get_Ticket"):
        lane = await fresh.call(tool, "above")
        assert document(lane)["error"]["code"] == -32602
    lane = await fresh.call("refund", "above", amount=9000)
    assert document(lane)["result"]["isError"] is True
    named = {"uri": "x", "name": "x", "ref": {"type": "ref/prompt", "name": "x"}}
    for method in ("resources/read", "prompts/get", "completion/complete"):
        lane = await fresh.ask(request(method, named, modern=False))
        assert document(lane)["error"]["code"] == -31005
    assert fresh.desk.reached("above") == 0
    said = fresh.said()
    assert "unknown_tool" in said
    assert "denied" in said
    assert "name='purge'" in said


async def test_it_reaches_no_tool_that_is_not_as_it_was_pinned_t32(fresh: Taken) -> None:
    """T32: a new tool, and one that it says is pinned."""
    before = fresh.desk.upstream.results["tools/list"]
    new = {"name": "backdoor", "inputSchema": {"type": "object"}}
    fresh.desk.upstream.results["tools/list"] = before | {"tools": [*before["tools"], new]}
    lane = await fresh.ask(request("tools/list", modern=False))
    assert "backdoor" not in str(document(lane))
    lane = await fresh.call("backdoor", "unpinned")
    assert document(lane)["error"]["code"] == -32602
    fresh.desk.upstream.results["tools/list"] = before
    assert fresh.desk.reached("unpinned") == 0


async def test_it_uses_no_permit_twice_not_even_after_a_kill_t32(fresh: Taken) -> None:
    """T32, P22."""
    permit = fresh.vouched(fresh.permit("once"))
    assert "result" in document(await fresh.call("send_mail", "once", permit))
    assert needs_approval(await fresh.call("send_mail", "once", permit))
    await fresh.start()
    assert needs_approval(await fresh.call("send_mail", "once", permit))
    assert needs_approval(await fresh.call("send_mail", "once"))
    assert fresh.desk.reached("once") == 1
    assert "permit refused" in fresh.said()
    assert "why=used" in fresh.said()


CHANGES: dict[str, Any] = {
    "session": "f" * 32,
    "user": "eve",
    "agent": "other",
    "server": OTHER,
    "tool": "purge",
    "definition": "0" * 64,
    "arguments": "0" * 64,
    "policy": "0" * 64,
    "tool_class": "read",
    "expires": 1,
}


@pytest.mark.parametrize("name", CHANGES)
async def test_it_uses_no_permit_for_anything_else_t32(fresh: Taken, name: str) -> None:
    """T32, P20, P26: signed anew by its own key, with one field changed."""
    case = f"field-{name}"
    before = len(fresh.said())
    changed = fresh.permit(case, **{name: CHANGES[name]})
    assert needs_approval(await fresh.call("send_mail", case, fresh.vouched(changed)))
    assert fresh.desk.reached(case) == 0
    assert "permit refused" in fresh.said()[before:]


async def test_it_alters_no_permit_that_somebody_signed_t32(fresh: Taken) -> None:
    """T32: any byte of it."""
    good = fresh.vouched(fresh.permit("altered"))
    for at in range(0, len(good), 37):
        other = good[:at] + ("A" if good[at] != "A" else "B") + good[at + 1 :]
        assert needs_approval(await fresh.call("send_mail", "altered", other))
    requester = fresh.vouched(fresh.permit("altered"), "ada")
    assert needs_approval(await fresh.call("send_mail", "altered", requester))
    assert fresh.desk.reached("altered") == 0


async def test_where_approvers_have_keys_its_own_is_worth_nothing_t32(fresh: Taken) -> None:
    """T32."""
    await fresh.desk.take("client", SIGNED_POLICY)
    mallory = PrivateKey.generate()
    permit = fresh.permit("keys")
    forged = {key_fingerprint(mallory.public): mallory.sign(approver_message(permit))}
    named = {key_fingerprint(PIA.public): mallory.sign(approver_message(permit))}
    recorded = approver_message(fresh.permit("another"))
    other = {key_fingerprint(PIA.public): PIA.sign(recorded)}
    for signatures in ({}, forged, named, other):
        text = Signed(permit, ("pia",), signatures).vouched(fresh.relay.key).text()
        assert needs_approval(await fresh.call("send_mail", "keys", text))
    assert fresh.desk.reached("keys") == 0
    assert "why=signature" in fresh.said()
    assert "result" in document(await fresh.call("send_mail", "keys", fresh.by_pia(permit)))
    assert needs_approval(await fresh.call("send_mail", "keys", fresh.by_pia(permit)))
    assert fresh.desk.reached("keys") == 1
    await fresh.desk.take("client", POLICY)


async def test_where_approvers_have_passkeys_it_makes_no_permit_t32(fresh: Taken) -> None:
    """T32: no signature but the passkey's own counts, once, for a person who was verified."""
    pia, mallory = SoftPasskey.make(), SoftPasskey.make()
    keys = f"approver_keys: {{pia: {pia.public.text()}}}\n"
    await fresh.desk.take("client", POLICY.replace("rules:", keys + "rules:", 1))
    permit, name = fresh.permit("passkeys"), pia.public.fingerprint
    challenge = passkey_challenge(permit)
    twice = b'{"origin":"x",' + pia.sign(challenge).client_data[1:]
    for made in (
        mallory.sign(challenge),
        pia.sign(passkey_challenge(fresh.permit("another"))),
        pia.sign(challenge, flags=1),
        pia.sign(challenge, host="evil.example.com"),
        pia.sign(challenge, said={"origin": "https://evil.example.com"}),
        pia.sign(challenge, client_data=twice),
        fresh.relay.key.sign(approver_message(permit)),
    ):
        text = Signed(permit, ("pia",), {name: made}).vouched(fresh.relay.key).text()
        assert needs_approval(await fresh.call("send_mail", "passkeys", text))
    assert needs_approval(await fresh.call("send_mail", "passkeys", fresh.vouched(permit)))
    assert fresh.desk.reached("passkeys") == 0
    assert "why=signature" in fresh.said()
    good = Signed(permit, ("pia",), {name: pia.sign(challenge)}).vouched(fresh.relay.key).text()
    assert "result" in document(await fresh.call("send_mail", "passkeys", good))
    assert needs_approval(await fresh.call("send_mail", "passkeys", good))
    assert fresh.desk.reached("passkeys") == 1
    await fresh.desk.take("client", POLICY)


@pytest.mark.parametrize("upstream", ["nowhere", "localhost", "sh", "file"])
async def test_it_names_no_host_and_no_program_t33(fresh: Taken, upstream: str) -> None:
    """T33: a name that is not configured is nothing, and a grant for it changes that not."""
    session = upstream.encode().hex().zfill(32)
    fresh.grant(session=session, upstream=upstream)
    headers = [(b"content-type", b"application/json")]
    head = encode_open(OpenHead(upstream, "POST", session, "", headers, ""))
    body = json.dumps(call("get_ticket", case="host", modern=False)).encode()
    lane = fresh.link.request(head, body)
    await eventually(lambda: lane.resets or lane.ended)
    assert [code for code, _ in lane.resets] == [ResetCode.REFUSED]
    assert fresh.desk.reached("host") == 0


@pytest.mark.parametrize(
    "header",
    [
        *((b"host", b"evil.example.com"), (b"authorization", b"Bearer x"), (b"cookie", b"a=b")),
        *((b"proxy-authorization", b"x"), (b"origin", b"http://x"), (b"mcp-session-id", b"x")),
    ],
    ids=lambda header: header[0].decode(),
)
async def test_it_says_nothing_for_the_client_t32(
    fresh: Taken, header: tuple[bytes, bytes]
) -> None:
    """T32: no credential, no host, no MCP session of somebody else."""
    headers = [(b"content-type", b"application/json"), header]
    head = encode_open(OpenHead(SERVER, "POST", SESSION, "", headers, ""))
    body = json.dumps(call("get_ticket", case="header", modern=False)).encode()
    lane = fresh.link.request(head, body)
    await eventually(lambda: lane.resets or lane.ended)
    assert [code for code, _ in lane.resets] == [ResetCode.REFUSED]
    assert fresh.desk.reached("header") == 0
    assert "a header that is not forwarded" in fresh.said()


async def test_it_learns_no_secret_t32(fresh: Taken) -> None:
    """T32: nothing that a client sends by itself holds its key or its folders."""
    await eventually(lambda: b"send_mail" in fresh.link.heard)
    await fresh.call("get_ticket", "secret")
    files = [path for path in fresh.state.iterdir() if path.is_file() and path.name != "pins.json"]
    lines = [line for file in files for line in file.read_text().splitlines() if len(line) > 20]
    assert any("PRIVATE KEY" in line for line in lines)
    heard = fresh.link.heard.decode(errors="replace")
    assert not [line for line in lines if line in heard]
    assert str(fresh.desk.lab.folder) not in heard


@pytest.mark.parametrize("kind", [0x00, 0x2F, 0x30, 0xFF])
async def test_there_is_no_frame_for_anything_else_t33(fresh: Taken, kind: int) -> None:
    """T33: an address or a command has no frame; who sends one loses the link."""
    driver: Any = fresh.link.driver
    payload = b"http://169.254.169.254/"
    made = frame(kind, 0, len(payload), 0, payload)
    numbers = driver._mux.sequence
    driver._transport.send(encode_message(numbers._sent, numbers.taken, made))
    await eventually(lambda: fresh.link.lost)
    await fresh.start()
    assert "result" in document(await fresh.call("get_ticket", f"after-{kind}"))
