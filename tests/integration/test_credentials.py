"""Through relay and client: a credential reaches its upstream, and nothing else ever holds it."""

import asyncio
import json
import os
import signal
import stat
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from tests.helpers.agent import call, initialize, request
from tests.helpers.audit_log import records
from tests.helpers.tunnel import CommandError
from tests.integration.scene import OTHER, SERVER, Scene, eventually, open_scene
from tunnel_client.credentials.scrub import MASK, Scrubber

CANARY = "cnry-Zq8x4Lm2Pw7Tf0Kd+/Vb=9"
LISTERS = "cnry-Lp6s8Hn3Ct1Wz5Xv+/Rb=7"
SWEEP = Scrubber([CANARY])
pytestmark = [pytest.mark.system, pytest.mark.asyncio(loop_scope="session")]


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def guarded() -> AsyncIterator[Scene]:
    """`server` is shown a credential, `other`, the same program, is not."""
    async with open_scene(start=False) as scene:
        secret = scene.lab.folder / "secret"
        secret.touch(mode=0o600)
        secret.write_text(CANARY)
        entry = f'name = "{SERVER}"\nurl = "{scene.upstream.url}"\n'
        origin = scene.upstream.url.removesuffix("/mcp")
        table = f'kind = "bearer", origin = "{origin}", value = "file:{secret}"'
        config = scene.lab.client_config
        text = config.read_text()
        assert entry in text
        config.write_text(text.replace(entry, f"{entry}credential = {{ {table} }}\n"))
        await scene.lab.start_client([SERVER, OTHER])
        yield scene


def sweep(scene: Scene) -> list[str]:
    """Return the files of both programs that hold the canary in any spelling: all but its own."""
    found = []
    for path in scene.lab.folder.rglob("*"):
        plain = path.name != "secret" and stat.S_ISREG(path.lstat().st_mode)
        if plain and SWEEP.places(path.read_bytes()):
            found.append(str(path))
    return found


async def tell(scene: Scene, case: str, status: int, body: bytes, kind: str = "text/html") -> Any:
    """Have the upstream answer one call like this; returns what the agent got."""
    asked = asyncio.create_task(scene.agent.ask(call("driven", case=case)))
    seen = await scene.upstream.arrived(case)
    await seen.answer(status, body, [("Content-Type", kind), ("X-Debug", CANARY)])
    return await asked


async def test_the_upstream_sees_ours_the_agent_sees_none(guarded: Scene) -> None:
    """Rows C02, C10, H07 and H25."""
    before = len(guarded.upstream.seen)
    mine = {"X-Upstream-Authorization": "agents", "X-API-Key": "agents", "Cookie": "a=agents"}
    reply = await guarded.agent.ask(call("headers", case="c10"), headers=mine.items())
    seen = guarded.upstream.seen[before]
    assert seen.values("authorization") == [f"Bearer {CANARY}"]
    assert "agents" not in str(seen.headers)
    assert guarded.agent.token is not None
    assert guarded.agent.token.get_secret_value() not in str(seen.headers)
    assert reply.status == 200
    assert MASK in reply.body
    assert not SWEEP.places(reply.body)


async def test_the_other_upstream_is_shown_nothing(guarded: Scene) -> None:
    other = await guarded.grant(OTHER)
    before = len(guarded.upstream.seen)
    assert (await other.agent.ask(call("headers", case="other"))).status == 200
    assert guarded.upstream.seen[before].values("authorization") == []


async def test_a_catalogue_that_holds_the_secret_is_scrubbed(guarded: Scene) -> None:
    """Row C13: as every answer is."""
    tools = [{"name": "x", "description": f"use {CANARY}", "inputSchema": {"default": CANARY}}]
    asked = asyncio.create_task(guarded.agent.ask(call("driven", case="c13")))
    seen = await guarded.upstream.arrived("c13")
    await seen.result({"tools": tools, "instructions": CANARY})
    reply = await asked
    assert reply.document["result"]["instructions"] == MASK.decode()
    assert not SWEEP.places(reply.body)


@pytest.mark.parametrize("status", [401, 403, 500, 502])
async def test_pages_of_errors_stay_at_home(guarded: Scene, status: int) -> None:
    """Rows C05 and C18."""
    reply = await tell(guarded, f"c05-{status}", status, f"<p>Bearer {CANARY}</p>".encode())
    assert reply.status == (502 if status < 500 else status)
    assert b"<p>" not in reply.body
    assert not SWEEP.places(reply.body + str(reply.headers).encode())
    assert "www-authenticate" not in dict(reply.headers)


async def test_events_are_scrubbed_and_come_at_once(guarded: Scene) -> None:
    async with guarded.agent.open(call("driven", case="sse")) as reply:
        seen = await guarded.upstream.arrived("sse")
        await seen.event_stream()
        told = {"jsonrpc": "2.0", "method": "notifications/message", "params": {"a": CANARY}}
        await seen.event(told)
        assert (await reply.text(MASK)).endswith(b"\n\n")
        await seen.event({"jsonrpc": "2.0", "id": 1, "result": {"b": CANARY}})
        text = await reply.text(b'"result"')
        assert not SWEEP.places(text)
        await seen.end()
        await reply.end()


async def test_nothing_that_fails_shows_it(guarded: Scene) -> None:
    """Rows C12, C16 and C17: break what can be broken, then look everywhere."""
    bad = [
        b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n\r\n" + CANARY.encode(),
        b"HTTP/1.1 302 Away\r\nLocation: http://x/" + CANARY.encode() + b"\r\n\r\n",
        b"HTTP/1.1 200 " + CANARY.encode() + b"\r\nBad\x00Header: x\r\n\r\n",
        b"garbage " + CANARY.encode() + b"\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 9999\r\n\r\n" + CANARY.encode(),
        b"HTTP/1.1 200 OK\r\nMcp-Session-Id: a\r\nMcp-Session-Id: " + CANARY.encode() + b"\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX-A: " + CANARY.encode() * 3000 + b"\r\n\r\n",
        b"",
    ]
    for number, raw in enumerate(bad):
        asked = asyncio.create_task(guarded.agent.ask(call("driven", case=f"c12-{number}")))
        seen = await guarded.upstream.arrived(f"c12-{number}")
        await seen.raw(raw)
        try:
            reply = await asked
        except ConnectionError:
            continue  # an answer that was begun cannot be ended well
        assert not SWEEP.places(reply.body + str(reply.headers).encode())
    legacy = await guarded.agent.ask(initialize())
    assert legacy.status == 200
    await guarded.agent.ask(request("no/such/method"))
    shown = await guarded.lab.client_command("status", "--json")
    shown += await guarded.lab.client_command("check-config")
    shown += await guarded.lab.client_command("upstream", "list", "--json")
    shown += json.dumps(await guarded.lab.relay_json("tunnel", "list"))
    shown += json.dumps(await guarded.lab.relay_json("status"))
    assert not SWEEP.places(shown.encode())
    assert sweep(guarded) == []
    assert guarded.lab.relay is not None
    assert not in_memory(guarded.lab.relay.pid)


async def test_status_counts_what_was_taken_out(guarded: Scene) -> None:
    """Row C02: and says no more than that."""
    await guarded.agent.ask(call("headers", case="count"))
    status = json.loads(await guarded.lab.client_command("status", "--json"))
    (told,) = status["credentials"]
    assert told["upstream"] == SERVER
    assert told["kind"] == "bearer"
    assert told["scrub"] is True
    assert told["scrub_hits"] >= 1
    await eventually(lambda: "taken out of an answer" in guarded.log("client.log"))


async def test_a_new_secret_is_read_on_sighup_and_streams_go_on(guarded: Scene) -> None:
    fresh, secret = "cnry-Ew3r7Yk1Ns9Gd5Hj+/Qc=4", guarded.lab.folder / "secret"
    assert guarded.lab.client is not None

    async def shown() -> list[str]:
        before = len(guarded.upstream.seen)
        assert (await guarded.agent.ask(call("headers", case="hup"))).status == 200
        return guarded.upstream.seen[before].values("authorization")

    async with guarded.agent.open(call("driven", case="goes-on")) as reply:
        seen = await guarded.upstream.arrived("goes-on")
        await seen.event_stream()
        await seen.event({"n": 1})
        await reply.text(b'"n"')
        secret.write_text(fresh)
        assert await shown() == [f"Bearer {CANARY}"]
        os.kill(guarded.lab.client.pid, signal.SIGHUP)
        await eventually(lambda: _is(shown, [f"Bearer {fresh}"]))
        # What comes late may hold the one before, or the new one.
        await seen.event({"a": CANARY, "b": fresh})
        text = await reply.text(b'"b"')
        assert text.count(MASK) == 2
        assert not SWEEP.places(text)
        assert not Scrubber([fresh]).places(text)
    secret.write_text(CANARY)
    os.kill(guarded.lab.client.pid, signal.SIGHUP)
    await eventually(lambda: _is(shown, [f"Bearer {CANARY}"]))


async def _is(shown: Callable[[], Awaitable[list[str]]], wanted: list[str]) -> bool:
    return await shown() == wanted


async def test_a_changed_url_stops_the_client_before_it_dials(guarded: Scene) -> None:
    """Row C14: by its own command, with the code and what to do."""
    config = guarded.lab.client_config
    moved = guarded.lab.folder / "moved.toml"
    moved.touch(mode=0o600)
    moved.write_text(config.read_text().replace(f'"{guarded.upstream.url}"', '"http://evil/mcp"'))
    with pytest.raises(CommandError) as caught:
        await guarded.lab._run("tunnel-client", "check-config", "--config", str(moved))
    assert caught.value.code == 78
    assert "MT2520" in caught.value.stderr
    assert "next:" in caught.value.stderr


def for_each_user(scene: Scene) -> None:
    """Give `server` a credential for each user, of whom `lister` is the one it is listed as."""
    for user, secret in (("ada", CANARY), ("lister", LISTERS)):
        path = scene.lab.folder / f"{user}.secret"
        path.touch(mode=0o600)
        path.write_text(secret)
    entry = f'name = "{SERVER}"\nurl = "{scene.upstream.url}"\n'
    unpinned = 'pinning = "off"\ncatalog_at_start = false\n'
    origin, value = scene.upstream.url.removesuffix("/mcp"), f"{scene.lab.folder}/{{user}}.secret"
    table = f'kind = "bearer", origin = "{origin}", value = "file:{value}", lists_as = "lister"'
    config = scene.lab.client_config
    text = config.read_text()
    assert entry + unpinned in text
    config.write_text(text.replace(entry + unpinned, f"{entry}credential = {{ {table} }}\n"))


async def test_with_a_credential_for_each_user_tools_are_listed_pinned_and_called() -> None:
    """The client asks as `lister`, ada calls as ada, and the log knows of her calls only."""
    async with open_scene(start=False, servers=[SERVER]) as scene:
        schema = {"type": "object", "properties": {"case": {"type": "string"}}}
        tool = {"name": "headers", "inputSchema": schema}
        scene.upstream.results["tools/list"] = {"tools": [tool]}
        for_each_user(scene)
        await scene.lab.client_command("check-config")
        assert "headers" in await scene.lab.client_command("tool", "list", SERVER)
        await scene.lab.client_command("tool", "pin", SERVER, "headers", "--yes")
        commands = len(scene.upstream.own)
        await scene.lab.start_client([SERVER])
        await eventually(lambda: len(scene.upstream.own) > commands)
        reply = await scene.agent.ask(call("headers", case="mine"))
        assert (reply.status, "result" in reply.document) == (200, True)
        (seen,) = scene.upstream.calls("mine")
        assert seen.values("authorization") == [f"Bearer {CANARY}"]
        shown = {value for each in scene.upstream.own for value in each.values("authorization")}
        assert shown == {f"Bearer {LISTERS}"}
        assert (await (await scene.grant(user="bob")).agent.ask(call("headers"))).status == 503
        log = scene.lab.folder / "client" / "state" / "audit"
        intents = records(log, "call.intent")
        assert {each["who"]["user"] for each in intents} == {"ada", "bob"}
        assert len(intents) == 2


def in_memory(pid: int) -> bool:
    """Tell whether a process's memory holds the canary (row C17); False when we may not look."""
    try:
        with Path(f"/proc/{pid}/mem").open("rb", 0) as memory:
            for line in Path(f"/proc/{pid}/maps").read_text().splitlines():
                place, rights = line.split()[:2]
                first, last = (int(each, 16) for each in place.split("-"))
                if "rw" not in rights or last - first > 256 * 1024 * 1024:
                    continue
                try:
                    memory.seek(first)
                    if CANARY.encode() in memory.read(last - first):
                        return True
                except OSError:
                    continue
    except PermissionError:
        return False
    return False
