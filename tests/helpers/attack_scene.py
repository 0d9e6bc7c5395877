"""The scene of `make demo-attacks`: relay, client, and a private server that turned traitor."""

import json
import secrets
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from typing import Any

import anyio
from pydantic import SecretStr

from tests.helpers.agent import Agent, Reply
from tests.helpers.demo_approver import Approver
from tests.helpers.recording_upstream import RecordingUpstream, recording_upstream
from tests.helpers.rogue_bank import RogueBank
from tests.helpers.stage import Stage, StageError
from tests.helpers.tunnel import free_port

TUNNEL = "office"
BANK = "bank"
USER = "ada"
APPROVER = "pia"


@dataclass
class AttackScene:
    """Everything that runs; `worked` names the attacks that did what they wanted."""

    stage: Stage
    bank: RogueBank
    attacker: RecordingUpstream
    secret: str
    port: int
    approver: Approver
    key: str = ""
    """The public half of the approver's key."""
    worked: list[str] = field(default_factory=list)

    @contextmanager
    def attack(self, title: str, tries: str) -> Iterator[None]:
        """Announce an attack and judge it: a StageError inside says that it worked."""
        self.stage.step(title)
        self.stage.say(f"   THE ATTACKER: {tries}")
        try:
            yield
        except StageError as error:
            self.worked.append(title)
            self.stage.say(f"   THE ATTACK WORKED: {error}")

    def proof(self, text: str) -> None:
        """Print the line that says why the attack failed."""
        self.stage.say(f"   PROOF: {text}")

    async def session(self) -> tuple[Agent, str]:
        """Make a session; returns an agent that has its token, and its id."""
        made = json.loads(
            await self.stage.quietly(
                *("tunnel-relay", "session", "create", "--user", USER, "--agent", "demo"),
                *("--server", f"{TUNNEL}/{BANK}", "--ttl", "1h", "--json"),
            )
        )
        path = f"/t/{TUNNEL}/{BANK}/mcp"
        return Agent(self.port, path, SecretStr(made["token"])), str(made["session"]["id"])

    async def linked(self) -> bool:
        """Tell whether the relay has a link that serves the bank."""
        shown = await self.stage.quietly("tunnel-relay", "tunnel", "show", TUNNEL, "--json")
        return BANK in json.loads(shown)["tunnel"]["upstreams"]


def need(held: object, otherwise: str) -> None:
    """Raise StageError with these words unless it holds."""
    if not held:
        raise StageError(otherwise)


def result_text(reply: Reply) -> str:
    """Return the text of a tool's result, or of the error that came instead."""
    document: dict[str, Any] = reply.document
    if "error" in document:
        return f"JSON-RPC error {document['error']['code']}: {document['error']['message']}"
    return str(document["result"]["content"][0]["text"])


@asynccontextmanager
async def attack_scene(stage: Stage) -> AsyncIterator[AttackScene]:
    """Set the scene by the commands a person would type."""
    async with recording_upstream() as attacker:
        bank = RogueBank(f"http://localhost:{attacker.port}/collect")
        async with recording_upstream(bank):
            made = AttackScene(
                stage,
                bank,
                attacker,
                secrets.token_urlsafe(30),
                free_port(),
                Approver(stage, APPROVER, stage.folder / f"{APPROVER}.key"),
            )
            await _relay(made)
            await _client(made)
            yield made


async def _relay(scene: AttackScene) -> None:
    stage = scene.stage
    stage.step("The scene: a relay, and a user who may approve, with a key of their own")
    origin = f"http://127.0.0.1:{scene.port}"
    await stage.run(
        *("tunnel-relay", "init", "--public-url", origin, "--listen", origin.partition("//")[2]),
        *("--state-dir", str(stage.folder / "relay")),
        *("--admin-listen", f"127.0.0.1:{free_port()}"),
        lines=1,
    )
    await stage.start("relay", "tunnel-relay", "serve")

    async def listens() -> bool:
        try:
            stream = await anyio.connect_tcp("127.0.0.1", scene.port)
        except OSError:
            return False
        await stream.aclose()
        return True

    await stage.until(listens, "the relay serves")
    await scene.approver.arrive()
    key = str(stage.folder / f"{APPROVER}.key")
    said = await stage.run("tunnel-relay", "approval", "keygen", key, lines=1)
    scene.key = said.splitlines()[0]


async def _client(scene: AttackScene) -> None:
    stage = scene.stage
    stage.step("The client, before a bank's server: a credential, pinned tools, a policy")
    made = await stage.quietly("tunnel-relay", "tunnel", "create", TUNNEL, "--owner", USER)
    await stage.run(
        *("tunnel-client", "enroll", f"ws://127.0.0.1:{scene.port}"),
        *("--state-dir", str(stage.folder / "client"), "--join-code-file", "-"),
        stdin=made.splitlines()[0] + "\n",
        lines=1,
    )
    await _trust_the_approver(scene)
    secret = stage.folder / "secret"
    secret.touch(mode=0o600)
    secret.write_text(scene.secret)
    await stage.run(
        *("tunnel-client", "upstream", "add", BANK, "--yes", "--url", scene.bank.url),
        *("--credential", "bearer", "--credential-set", f"value=file:{secret}"),
        all_of_it=True,
    )
    await stage.start("client", "tunnel-client", "run")
    await stage.until(scene.linked, "the client's link is up")


async def _trust_the_approver(scene: AttackScene) -> None:
    """Write into the client's policy whose signature an approval needs."""
    stage = scene.stage
    policy = stage.folder / "policy.yaml"
    policy.write_text(f"{policy.read_text()}\napprover_keys:\n  {APPROVER}: {scene.key}\n")
    stage.say(f"   - in its policy: approver_keys: {APPROVER}; the relay's own word is not enough")
    await stage.run("tunnel-client", "policy", "check")
