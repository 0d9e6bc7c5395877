"""The report of a running relay and client: what it says is what the store holds, and no secret."""

import json
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio.to_thread
import pytest
from pydantic import SecretStr

from tests.helpers.agent import Agent, call
from tests.helpers.browser import browser
from tests.helpers.recording_upstream import recording_upstream
from tests.helpers.tunnel import HttpUpstream, Lab, free_port, make_lab
from tests.integration.policies import POLICY, desk_upstream, tool
from tests.integration.scene import Grant, eventually
from tunnel_relay.admin.call import call_control

pytestmark = pytest.mark.system

CANARY = SecretStr("canary-2b7e151628aed2a6abf7158809cf4f3c")
ARGUMENT = "argument-canary-76b8e0ada0f13d90"
HOSTILE = "<img src=x onerror=alert(1)> \u3164"
"""HTML, and a letter that takes no place."""
ODD_TOOL = "rug_</td><script>alert(2)</script>"


@asynccontextmanager
async def open_lab(port: int) -> AsyncIterator[tuple[Lab, list[Grant]]]:
    """Two tunnels, two servers, tools of every class and one nobody looked at, people, sessions."""

    def prepare(lab: Lab) -> None:
        lab.pinned, lab.policy = True, POLICY
        lab.environment["TUNNEL_RELAY_ADMIN__PORT"] = str(port)

    async with recording_upstream(desk_upstream()) as desk:
        wiki = HttpUpstream(desk.url)
        targets = {"server": HttpUpstream(desk.url, CANARY), "wiki": wiki}
        async with make_lab(targets, start=False, prepare=prepare) as lab:
            desk.results["tools/list"]["tools"].append(tool(ODD_TOOL))
            await lab.start_client(list(targets))
            await ask(lab, "tunnel_create", name="spare", owner="bob")
            await ask(lab, "user_disable", user="bob")
            right = {"servers": ["lab/server"], "groups": ["approvers"]}
            await ask(lab, "user_add", user="otto", roles=["auditor"], **right)
            grants = [
                await granted(lab, "server", idle=600.0),
                await granted(lab, "wiki", agent=HOSTILE, ttl=1800.0),
                await granted(lab, "server", user="otto", idle=300.0),
            ]
            await ask(lab, "session_revoke", session=grants[2].id, reason="over")
            for name in ("get_ticket", "purge"):
                await grants[0].agent.ask(call(name, text=ARGUMENT))
            yield lab, grants


async def granted(lab: Lab, server: str, user: str = "ada", **more: Any) -> Grant:
    """Make a session."""
    given = {"user": user, "agent": "test", "server": f"lab/{server}", "ttl": 3600.0} | more
    made = await ask(lab, "session_create", **given)
    host = lab.origin.partition("://")[2]
    agent = Agent(lab.port, f"/t/lab/{server}/mcp", SecretStr(made["token"]), host)
    return Grant(agent, made["session"]["id"])


async def ask(lab: Lab, command: str, **arguments: Any) -> Any:
    """Give the running relay a command, as its operator."""
    socket = lab.folder / "relay" / "state" / "control.sock"
    return await anyio.to_thread.run_sync(call_control, socket, command, arguments)


async def told(lab: Lab) -> None:
    """Wait until the relay knows of the tool nobody looked at."""

    async def knows() -> bool:
        return bool((await ask(lab, "tool_list", state="new"))["total"] == 2)

    await eventually(knows)


async def client_part(lab: Lab) -> Path:
    """Return the file a client adds."""
    path = lab.folder / "client.json"
    path.write_text(await lab.client_command("report", "--json"))
    return path


def found(doc: dict[str, Any]) -> dict[str, list[str]]:
    """Return the places of each finding."""
    return {each["id"]: each["places"] for each in doc["findings"]}


async def test_the_report_says_what_the_store_holds_and_shows_no_secret() -> None:
    port = free_port()
    async with open_lab(port) as (lab, grants):
        await told(lab)
        part = await client_part(lab)
        as_json = await lab.relay_command("report", "--client", str(part), "--json")
        doc = json.loads(as_json)

        for tunnel in doc["tunnels"]:
            assert (await ask(lab, "tunnel_show", name=tunnel["name"])).items() <= tunnel.items()
        assert len(doc["tunnels"]) == len(await ask(lab, "tunnel_list")) == 2
        assert len(doc["tools"]) == (await ask(lab, "tool_list"))["total"] == 16
        (server, _) = doc["servers"]
        assert (server["pinned"], server["new"], server["changed"]) == (7, 1, 0)
        pins = json.loads((lab.folder / "client" / "state" / "pins.json").read_text())
        kinds = Counter(each["class"] for each in pins["upstreams"]["server"]["tools"].values())
        assert server["classes"] == kinds
        live = (await ask(lab, "session_list"))["sessions"]
        assert doc["sessions"]["live"] == len(live) == 2
        assert doc["sessions"]["ended"] == {"revoked": 1}
        longest = doc["sessions"]["longest"]
        assert longest[0]["id"] == grants[0].id
        assert longest[0]["calls"] == 2
        assert longest == sorted(live, key=lambda each: -each["expires"])
        assert doc["sessions"]["never_idle"] == 1
        users = sorted(each["user"] for each in await ask(lab, "user_list"))
        assert [each["user"] for each in doc["users"]] == users

        ups = {each["name"]: each for each in doc["clients"][0]["upstreams"]}
        assert ups["server"]["credential"] == "bearer"
        assert ups["server"]["pins"] == kinds
        assert ups["wiki"]["credential"] is None

        finds = found(doc)
        assert finds["unowned"] == ["spare: owner bob is disabled"]
        assert finds["tool-new"] == [f"lab/server {ODD_TOOL}", f"lab/wiki {ODD_TOOL}"]
        assert finds["allows-everything"] == ["relay: rule what-sessions-open (line 14)"]
        assert "relay-signs" in finds
        assert "never-idle" in finds
        for absent in ("audit-off", "log-broken", "unsandboxed", "not-told", "unknown-client"):
            assert absent not in finds, absent
        assert doc["log"]["ok"] is True
        assert doc["log"]["records"] > 0
        assert {each["kind"] for each in doc["log"]["sample"]} >= {"call.completion"}

        rows = {(each["user"], each["server"]): each for each in doc["map"]}
        mine = rows["ada", "lab/server"]
        assert mine["judged_by"] == "both ends"
        assert mine["classes"]["read"] == ["allow"]
        assert mine["classes"]["admin"] == ["deny"]
        assert mine["classes"]["break_glass"] == ["require_approval"]
        assert mine["tools"]["send_mail"] == ["require_approval"]
        assert mine["tools"]["open_ticket"] == ["allow"]

        await seen_in_a_browser(lab, part, as_json, grants)
        await an_auditor_may(lab, port)


async def seen_in_a_browser(lab: Lab, part: Path, as_json: str, grants: list[Grant]) -> None:
    """A02: what others chose is text; no secret is on the page."""
    page = lab.folder / "page" / "report.html"
    page.parent.mkdir()
    said = await lab.relay_command("report", "--client", str(part), "--output", str(page))
    assert said.splitlines()[0] == str(page)
    assert page.stat().st_mode & 0o777 == 0o600
    text = page.read_text()
    secrets = [CANARY.get_secret_value(), ARGUMENT]
    secrets += [each.agent.token.get_secret_value() for each in grants if each.agent.token]
    told_by_client = await anyio.to_thread.run_sync(part.read_text)
    for secret in secrets:
        for shown in (text, as_json, told_by_client):
            assert secret not in shown
    assert "<script" not in text
    assert "<img" not in text
    assert "\u3164" not in text
    assert "\\u{3164}" in text

    def work() -> None:
        with browser() as seen:
            seen.open(page.as_uri())
            assert "Security report" in seen.text("h1")
            assert seen.dialog() is None
            for target in seen.all("nav a"):
                anchor = (target.get_attribute("href") or "").partition("#")[2]
                assert seen.all(f"[id='{anchor}']"), anchor
            assert HOSTILE.partition(" \u3164")[0] in seen.text("main")
            assert len(seen.all("svg rect")) == 7
            seen.screenshot("report-light")
            seen.dark(on=True)
            seen.screenshot("report-dark")
            seen.width(400)
            assert seen.script("document.documentElement.scrollWidth <= innerWidth")
            assert seen.complaints() == []

    await anyio.to_thread.run_sync(work)


async def an_auditor_may(lab: Lab, port: int) -> None:
    """From another machine, with a token of their own; the log is out of their reach."""
    made = await ask(lab, "user_token", user="otto")
    file = lab.folder / "token"
    file.touch(mode=0o600)
    file.write_text(made["token"])
    api = ("--api", f"http://127.0.0.1:{port}")
    doc = await lab.relay_json("report", "--token", f"file:{file}", *api)
    assert doc["log"]["looked"] is False
    assert "log-unseen" in found(doc)
    (instance,) = doc["tunnels"][0]["instances"]
    assert found(doc)["not-told"] == [f"client {instance['id'][:12]} of lab"]
