"""An agent that only speaks stdio, the bridge, relay, client and a private server: all real."""

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import mcp_types as types
import pytest
import pytest_asyncio
from mcp import Client, MCPError, StdioServerParameters
from mcp.client.stdio import stdio_client

from tests.helpers.audit_log import records
from tests.helpers.fixture_process import http_fixture
from tests.helpers.login import PASSWORD
from tests.helpers.recording_upstream import RecordingUpstream, Seen, recording_upstream
from tests.helpers.tunnel import BIN, TUNNEL, HttpUpstream, Lab, end, make_lab
from tests.integration.scene import eventually

pytestmark = [pytest.mark.system, pytest.mark.asyncio(loop_scope="module")]

MODES = ["auto", "legacy", "2026-07-28"]


class Recorder(RecordingUpstream):
    """Answers so that the SDK takes it in both eras."""

    async def serve(self, seen: Seen) -> None:
        if seen.document.get("method") == "tools/list":
            told = {"tools": [], "resultType": "complete", "ttlMs": 0, "cacheScope": "private"}
            await seen.result(told)
        else:
            await super().serve(seen)

    async def _call(self, seen: Seen, params: dict[str, Any]) -> None:
        if params["name"] != "echo":
            await super()._call(seen, params)
            return
        said = [{"type": "text", "text": json.dumps(params.get("arguments", {}))}]
        await seen.result({"resultType": "complete", "content": said})


class Place:
    """A lab with the fixture as `server` and a recording server as `recorder`."""

    def __init__(self, lab: Lab, recorder: RecordingUpstream) -> None:
        self.lab = lab
        self.recorder = recorder
        self.log = lab.folder / "bridge.log"

    async def token(self, upstream: str = "server") -> tuple[Path, str]:
        """Make a session; returns a file with its token, and its id."""
        made = await self.lab.session(upstream)
        path = self.lab.folder / f"token-{made['session']['id']}"
        path.touch(mode=0o600)
        path.write_text(made["token"] + "\n")
        return path, made["session"]["id"]

    def command(self, *words: str, upstream: str = "server", **env: str) -> StdioServerParameters:
        """Return how an agent starts the bridge."""
        inherited = {"PYTHONPATH": os.environ.get("PYTHONPATH", ""), "PYTHONWARNINGS": "default"}
        state = str(self.lab.folder / "agent")
        return StdioServerParameters(
            command=str(BIN / "tunnel-client"),
            args=["connect", self.lab.url(upstream), "--state-dir", state, *words],
            env=inherited | env,
        )

    @asynccontextmanager
    async def agent(
        self, parameters: StdioServerParameters, mode: Any = "auto", **callbacks: Any
    ) -> AsyncIterator[Client]:
        """Start the bridge as an agent does, and connect."""
        with self.log.open("a") as log:
            transport = stdio_client(parameters, errlog=log)
            async with Client(transport, mode=mode, **callbacks) as client:
                yield client

    @asynccontextmanager
    async def with_token(
        self, mode: Any = "auto", upstream: str = "server", **callbacks: Any
    ) -> AsyncIterator[Client]:
        """Connect with a session of its own."""
        token, _ = await self.token(upstream)
        command = self.command("--token-file", str(token), upstream=upstream)
        async with self.agent(command, mode, **callbacks) as client:
            yield client


@asynccontextmanager
async def open_place() -> AsyncIterator[Place]:
    def prepare(lab: Lab) -> None:
        lab.environment["TUNNEL_RELAY_OAUTH__DYNAMIC_REGISTRATION"] = "true"

    async with http_fixture() as url, recording_upstream(Recorder()) as recorder:
        targets = {"server": HttpUpstream(url), "recorder": HttpUpstream(recorder.url)}
        async with make_lab(targets, prepare=prepare) as lab:
            secret = lab.folder / "password"
            secret.write_text(PASSWORD + "\n")
            words = ("--server", f"{TUNNEL}/*", "--password-file", str(secret))
            await lab.relay_command("user", "add", "bob", *words)
            yield Place(lab, recorder)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def place() -> AsyncIterator[Place]:
    async with open_place() as made:
        yield made


def text_of(result: types.CallToolResult) -> str:
    return "".join(block.text for block in result.content if isinstance(block, types.TextContent))


@pytest.mark.parametrize("mode", MODES)
async def test_an_agent_connects_lists_calls_and_hears_progress(place: Place, mode: str) -> None:
    heard: list[float] = []

    async def progressed(progress: float, total: float | None, message: str | None) -> None:
        heard.append(progress)

    with anyio.fail_after(60):
        async with place.with_token(mode) as client:
            expected = "2025-11-25" if mode == "legacy" else "2026-07-28"
            assert client.protocol_version == expected
            names = [tool.name for tool in (await client.list_tools()).tools]
            assert "test_simple_text" in names
            await client.call_tool("test_tool_with_progress", {}, progress_callback=progressed)
            result = await client.call_tool("test_custom_header", {"region": "Zürich"})
            assert "Zürich" in text_of(result)
            with pytest.raises(MCPError):
                await client.call_tool("no such tool", {})
    assert heard == [0, 50, 100]


@pytest.mark.parametrize("mode", ["legacy", "2026-07-28"])
async def test_answers_that_the_agent_has_are_none_that_the_relay_takes_for_lost(
    place: Place, mode: str
) -> None:
    """The last event and the end of its stream may reach the bridge apart, so that it must wait."""
    token, session = await place.token()
    with anyio.fail_after(60):
        async with place.agent(place.command("--token-file", str(token)), mode) as client:
            for _ in range(30):
                await client.call_tool("test_simple_text", {})
    log = place.lab.folder / "relay" / "state" / "audit"
    intents = records(log, "call.intent")
    # The stream that a legacy agent listens on has no answer, and ends as the agent does.
    mine = [each for each in intents if each["who"]["session"] == session]
    calls = {each["call"] for each in mine if each["what"]["http"] != "GET"}
    assert len(calls) > 30

    def results() -> list[str]:
        ended = records(log, "call.completion")
        return [each["result"] for each in ended if each["call"] in calls]

    await eventually(lambda: len(results()) == len(calls))
    assert set(results()) == {"ok"}


async def test_a_legacy_server_asks_its_agent_through_the_bridge(place: Place) -> None:
    async def fill(_: Any, __: Any) -> types.ElicitResult:
        return types.ElicitResult(action="accept", content={"username": "kim", "email": "k@x"})

    async def sample(_: Any, __: Any) -> types.CreateMessageResult:
        content = types.TextContent(type="text", text="forty-two")
        return types.CreateMessageResult(role="assistant", content=content, model="m")

    with anyio.fail_after(60):
        async with place.with_token(
            "legacy", elicitation_callback=fill, sampling_callback=sample
        ) as client:
            elicited = await client.call_tool("test_elicitation", {"message": "Who?"})
            assert "kim" in text_of(elicited)
            sampled = await client.call_tool("test_sampling", {"prompt": "What?"})
            assert "forty-two" in text_of(sampled)


async def test_a_stream_the_server_closed_is_resumed(place: Place) -> None:
    with anyio.fail_after(60):
        async with place.with_token("legacy") as client:
            for left in reversed(range(5)):
                try:
                    result = await client.call_tool("test_reconnection", {})
                except MCPError as error:
                    # The SDK's server loses an answer that comes between its replay and the moment
                    # its new stream is there; the bridge then says that none came.
                    if not left or "ended without an answer" not in str(error):
                        raise
                else:
                    break
            assert "after the stream was closed" in text_of(result)


@pytest.mark.parametrize("mode", ["legacy", "2026-07-28"])
async def test_a_cancelled_call_is_cancelled_at_the_private_server(place: Place, mode: str) -> None:
    case = f"cancel-{mode}"
    with anyio.fail_after(60):
        async with place.with_token(mode, "recorder") as client:
            with anyio.CancelScope() as scope:
                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(client.call_tool, "driven", {"case": case})
                    seen = await place.recorder.arrived(case)
                    scope.cancel()
            if mode == "legacy":
                await place.recorder.until(
                    lambda: any(
                        b"notifications/cancelled" in each.body for each in place.recorder.seen
                    )
                )
            else:
                await seen.closed.wait()
            echoed = await client.call_tool("echo", {"case": "after"})
            assert json.loads(text_of(echoed)) == {"case": "after"}


async def test_a_large_result_and_many_calls_of_two_agents_at_once(place: Place) -> None:
    async def echo(client: Client, case: str) -> None:
        result = await client.call_tool("echo", {"case": case, "pad": "x" * 100_000})
        assert json.loads(text_of(result))["case"] == case

    with anyio.fail_after(60):
        async with (
            place.with_token("legacy", "recorder") as one,
            place.with_token("2026-07-28", "recorder") as two,
            anyio.create_task_group() as tasks,
        ):
            for number in range(10):
                tasks.start_soon(echo, one, f"one-{number}")
                tasks.start_soon(echo, two, f"two-{number}")
            result = await two.call_tool("echo", {"case": "large", "pad": "x" * 3_000_000})
            assert len(text_of(result)) > 3_000_000


async def test_a_revoked_session_is_told_in_words_and_cuts_the_running_call(place: Place) -> None:
    token, session = await place.token("recorder")
    command = place.command("--token-file", str(token), upstream="recorder")
    failures: list[str] = []
    with anyio.fail_after(60):
        async with place.agent(command, "legacy") as client:

            async def call(tool: str) -> None:
                with pytest.raises(MCPError) as refused:
                    await client.call_tool(tool, {"case": "revoked"})
                failures.append(str(refused.value))

            async with anyio.create_task_group() as tasks:
                tasks.start_soon(call, "driven")
                await place.recorder.arrived("revoked")
                await place.lab.relay_command("session", "revoke", session)
            await call("echo")
    assert "the session has ended" in failures[0]
    assert "MT2055" in failures[1]
    assert "session create" in failures[1]


async def test_a_relay_that_dies_in_a_call_is_told_as_unknown() -> None:
    async with open_place() as place:
        with anyio.fail_after(60):
            async with place.with_token("2026-07-28", "recorder") as client:
                async with anyio.create_task_group() as tasks:

                    async def call() -> None:
                        with pytest.raises(MCPError) as broke:
                            await client.call_tool("driven", {"case": "died"})
                        assert broke.value.error.data["delivery"] == "unknown"

                    tasks.start_soon(call)
                    await place.recorder.arrived("died")
                    assert place.lab.relay is not None
                    place.lab.relay.kill()
                await end(place.lab.relay)
                with pytest.raises(MCPError) as gone:
                    await client.call_tool("echo", {})
                assert gone.value.error.data["delivery"] == "never_sent"
                await place.lab.start_relay()
                await eventually(lambda: answers(client))


async def answers(client: Client) -> bool:
    try:
        await client.call_tool("echo", {"case": "again"})
    except MCPError:  # the client of the private network is on its way back
        return False
    return True


def person(place: Place, **more: str) -> dict[str, str]:
    browser = f"{sys.executable} -m tests.helpers.person %s"
    return {"BROWSER": browser, "PERSON": "bob", "ORIGIN": place.lab.origin, **more}


async def sessions(place: Place) -> list[dict[str, Any]]:
    listed = (await place.lab.relay_json("session", "list"))["sessions"]
    return [each for each in listed if each["door"] == "oauth"]


async def test_a_person_logs_in_once_for_all_agents_and_logs_out(place: Place) -> None:
    """The relay's own authorization server, end to end."""
    with anyio.fail_after(120):
        async with place.agent(place.command(**person(place))) as client:
            assert (await client.list_tools()).tools
            (made,) = await sessions(place)
            assert (made["user"], made["server"]) == ("bob", f"{TUNNEL}/server")
        # No person this time: what was kept is enough, for two at once too.
        async with (
            place.agent(place.command("--no-browser"), "legacy") as one,
            place.agent(place.command("--no-browser"), "auto") as two,
        ):
            assert (await one.list_tools()).tools
            assert (await two.list_tools()).tools
        assert [each["id"] for each in await sessions(place)] == [made["id"]]
        kept = list((place.lab.folder / "agent" / "connect").glob("*.json"))
        assert [path.stat().st_mode & 0o777 for path in kept] == [0o600]
        said = await run(place.command("--logout"))
        assert said == b"logged out\n"
        assert await sessions(place) == []
    assert "mts_" not in place.log.read_text()


async def test_a_registered_agent_renews_for_all_its_processes_and_keeps_its_session(
    place: Place,
) -> None:
    """Two bridges share a refresh token that the relay takes only once."""
    await place.lab.relay_command(
        *("agent", "add", "desk", "--redirect-uri", "http://127.0.0.1/callback")
    )
    words = ("--agent-id", "desk", "--state-dir", str(place.lab.folder / "desk"))
    with anyio.fail_after(120):
        command = place.command(*words, upstream="recorder", **person(place))
        login = place.command("--login", *words, upstream="recorder", **person(place))
        assert (await run(login)).startswith(b"logged in at ")
        (made,) = await sessions(place)
        assert (made["agent"], made["server"]) == ("desk", f"{TUNNEL}/recorder")
        (kept,) = (place.lab.folder / "desk" / "connect").glob("*.json")
        first = json.loads(kept.read_text())
        kept.write_text(json.dumps(first | {"expires": 0}))  # as if it were about to end
        async with (
            place.agent(command, "legacy") as one,
            place.agent(command, "legacy") as two,
            anyio.create_task_group() as tasks,
        ):
            for client in (one, two, one, two):
                tasks.start_soon(client.call_tool, "echo", {"case": "renewed"})
        second = json.loads(kept.read_text())
        assert second["refresh"] != first["refresh"]
        assert [each["id"] for each in await sessions(place)] == [made["id"]]
        # Revoked: the next call waits for the person, at the address that is printed.
        silent = place.command(*words, "--no-browser", upstream="recorder")
        async with place.agent(silent, "legacy") as client:
            await place.lab.relay_command("session", "revoke", made["id"])
            before = place.log.read_text().count("/oauth/authorize?")
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(client.call_tool, "echo", {"case": "revoked"})
                await eventually(lambda: place.log.read_text().count("/oauth/authorize?") > before)
                tasks.cancel_scope.cancel()


async def test_a_person_who_says_no_is_told_to_the_agent(place: Place) -> None:
    with anyio.fail_after(60):
        command = place.command(**person(place, DECISION="deny"))
        with pytest.raises((MCPError, ExceptionGroup)) as refused:
            async with place.agent(command):
                pass
        assert "MT2051" in repr(refused.value)


async def run(parameters: StdioServerParameters) -> bytes:
    process = await asyncio.create_subprocess_exec(
        parameters.command,
        *parameters.args,
        stdout=asyncio.subprocess.PIPE,
        env={**os.environ, **(parameters.env or {})},
    )
    out, _ = await process.communicate()
    assert process.returncode == 0
    return out
