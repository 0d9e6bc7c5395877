"""A desk whose tools have classes, whose policies change, and whose approvers sit at a command."""

import json
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import SecretStr

from shared.policy.document import read_policy
from tests.helpers.agent import MODERN, Agent, Reply, call, request
from tests.helpers.recording_upstream import RecordingUpstream
from tests.helpers.tunnel import Lab, free_port
from tests.integration.scene import SERVER, Grant, Scene, eventually, open_scene

APPROVAL = "mcp-tunnel/approval"
CLASSES = {
    "get_ticket": "read",
    "draft_reply": "draft",
    "open_ticket": "write",
    "refund": "write",
    "send_mail": "external_send",
    "purge": "admin",
    "unlock": "break_glass",
}
POLICY = """\
version: 1
rules:
  - {id: reading, match: {class: [read, draft]}, effect: allow}
  - {id: odd, match: {tool: "rug_*"}, effect: allow}
  - {id: opening, match: {tool: open_ticket}, effect: allow}
  - id: paying
    match: {tool: refund}
    when: 'type(args.amount) == int && args.amount <= 5000'
    effect: allow
  - id: mailing
    match: {tool: send_mail}
    effect: require_approval
    approvers: {group: [approvers], ttl: 15m}
  - id: glass
    match: {class: break_glass}
    effect: require_approval
    approvers: {group: [approvers], count: 2}
"""
RELAY_POLICY = 'version: 1\nrules:\n  - {id: all, match: {method: "*"}, effect: allow}\n'


def tool(name: str, **more: Any) -> dict[str, Any]:
    """Define a tool."""
    names = ("case", "amount", "to", "text")
    properties: dict[str, Any] = {each: {} for each in names}
    schema = {"type": "object", "properties": properties}
    return {"name": name, "description": f"Does {name}.", "inputSchema": schema, **more}


TOOLS = [tool(name) for name in CLASSES]


def desk_upstream(*more: dict[str, Any]) -> RecordingUpstream:
    """Return a server of both eras with these tools."""
    upstream = RecordingUpstream()
    upstream.results["tools/list"] = {"tools": [*TOOLS, *more], "cacheScope": "public"}
    upstream.results["server/discover"] = {
        "supportedVersions": [MODERN],
        "capabilities": {"tools": {}},
        "serverInfo": {"name": "desk", "version": "1"},
    }
    return upstream


@dataclass
class Desk:
    """A scene with pinned tools; `tokens` are files of approvers' admin tokens."""

    scene: Scene
    api: str
    tokens: dict[str, Path]

    @property
    def lab(self) -> Lab:
        return self.scene.lab

    @property
    def upstream(self) -> RecordingUpstream:
        return self.scene.upstream

    def reached(self, case: str) -> int:
        """Return how many calls of a test the upstream has seen."""
        return len(self.upstream.calls(case))

    async def call(
        self, name: str, modern: bool, agent: Agent | None = None, **arguments: Any
    ) -> Reply:
        """Call a tool in an era."""
        return await (agent or self.scene.agent).ask(call(name, modern=modern, **arguments))

    async def listed(self, modern: bool, agent: Agent | None = None) -> list[str]:
        """Return the names of the tools that an agent is shown."""
        reply = await (agent or self.scene.agent).ask(request("tools/list", modern=modern))
        assert reply.status == 200, reply.body
        return [each["name"] for each in reply.document["result"]["tools"]]

    async def pending(self, reply: Reply) -> str:
        """Return the approval that an agent was told to wait for."""
        result = reply.document["result"]
        assert result["isError"] is True, result
        assert "approval pending" in result["content"][0]["text"], result
        found: str = result["_meta"][APPROVAL]["id"]
        return found

    async def decide(self, verb: str, approval: str, who: str = "carol", *more: str) -> None:
        """Approve or deny by the command, as a user; raises CommandError."""
        words = ["approval", verb, approval, "--token", f"file:{self.tokens[who]}"]
        words += ["--api", self.api, *more]
        await self.lab.relay_command(*words, *(["--yes"] if verb == "approve" else []))

    async def approved(self, name: str, modern: bool, **arguments: Any) -> str:
        """Ask for a call, have it approved, and return the approval."""
        approval = await self.pending(await self.call(name, modern, **arguments))
        await self.decide("approve", approval)
        return approval

    async def status(self, program: str) -> dict[str, Any]:
        """Return the `policy` part of a program's status."""
        if program == "relay":
            found: dict[str, Any] = (await self.lab.relay_json("status"))["policy"]
        else:
            found = json.loads(await self.lab.client_command("status", "--json"))["policy"]
        return found

    def file(self, program: str) -> Path:
        """Return where a program has its policy."""
        folder = self.lab.client_config.parent
        if program == "client":
            return folder / "policy.yaml"
        return next(self.lab.relay_config.parent.rglob("relay-policy.yaml"))

    async def take(self, program: str, text: str, *, told: bool = True) -> None:
        """Give a program another policy and wait until it holds; `told` by SIGHUP."""
        self.file(program).write_text(text)
        process = self.lab.client if program == "client" else self.lab.relay
        assert process is not None
        if told:
            process.send_signal(signal.SIGHUP)
        wanted = read_policy(text, "policy").digest

        async def holds() -> bool:
            return bool((await self.status(program))["digest"] == wanted)

        await eventually(holds, every=0.1)

    async def session(self, *words: str, user: str = "ada") -> Grant:
        """Make a session with more said about it."""
        await self.lab.known(user)
        made = await self.lab.relay_json(
            *("session", "create", "--user", user, "--agent", "test"),
            *("--server", f"lab/{SERVER}", "--ttl", "1h", *words),
        )
        agent = self.scene.agent.with_token(SecretStr(made["token"]))
        return Grant(agent, made["session"]["id"])


async def _approver(lab: Lab, name: str) -> Path:
    words = ["--role", "approver", "--group", "approvers", "--no-password"]
    await lab.relay_command("user", "add", name, *words)
    made = await lab.relay_json("user", "token", name, "--ttl", "1h")
    file = lab.folder / f"token-{name}"
    file.touch(mode=0o600)
    file.write_text(made["token"] + "\n")
    return file


@asynccontextmanager
async def open_desk(
    upstream: RecordingUpstream | None = None,
    *approvers: str,
    policy: str = POLICY,
    prepare: Callable[[Lab], None] = lambda _: None,
    start: bool = True,
) -> AsyncIterator[Desk]:
    """Start everything with every tool pinned with its class."""
    port = free_port()

    def prepare_all(lab: Lab) -> None:
        lab.pinned, lab.policy = True, policy
        prepare(lab)

    settings: dict[str, object] = {"admin.port": port}
    server = upstream or desk_upstream()
    async with open_scene(settings, upstream=server, start=False, prepare=prepare_all) as scene:
        for name, kind in CLASSES.items():
            await scene.lab.client_command("tool", "classify", SERVER, name, kind)
        tokens = {name: await _approver(scene.lab, name) for name in approvers}
        if start:
            await scene.lab.start_client([SERVER])
            await scene.linked()
        yield Desk(scene, f"http://127.0.0.1:{port}", tokens)
