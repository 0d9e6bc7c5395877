"""S18, S19: every secret of users, agents and sessions, looked for wherever something comes out.

Each is handed out once, to whoever it is for; nothing that is answered, shown, counted, logged or
stored after that holds it, in any spelling.
"""

import base64
import hashlib
import secrets
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2
import pytest

from tests.helpers.agent import call
from tests.helpers.login import Browser
from tests.helpers.tunnel import TUNNEL, free_port
from tests.integration.scene import SERVER, Grant, Scene, open_scene
from tests.tunnel_relay.console.stage import Hand, cookie_of
from tunnel_client.credentials.scrub import Scrubber

pytestmark = pytest.mark.system

PASSWORD = "cnry-Bv7w2Kx9Qm4Rz1Td8Lp"
CALLBACK = "http://127.0.0.1:9/callback"
PAGES = (
    *("/", "/live", "/events", "/approvals", "/passkeys", "/tunnels", f"/tunnels/{TUNNEL}"),
    *("/sessions?all=on", "/users", "/user?user=root", "/agents", "/locks", "/audit", "/metrics"),
    "/v1/openapi.json",
)
LISTINGS = (
    *(("session", "list", "--all"), ("user", "show", "root"), ("user", "tokens")),
    *(("audit", "query"), ("status",)),
)


@dataclass
class Sweep:
    """What is secret, and what came out: where, and the bytes."""

    canaries: dict[str, str] = field(default_factory=lambda: {"password": PASSWORD})
    outputs: list[tuple[str, bytes]] = field(default_factory=list)

    async def hear(self, answer: httpx2.Response) -> None:
        """Note all of an answer."""
        await answer.aread()
        head = "\n".join(f"{name}: {value}" for name, value in answer.headers.items())
        where = f"{answer.request.method} {answer.request.url.path} {answer.status_code}"
        self.outputs.append((where, head.encode() + answer.content))

    def files(self, folder: Path, ours: set[str]) -> None:
        """Note every file of both programs: logs, audit, database and its journal, keys."""
        for path in folder.rglob("*"):
            if path.is_file() and path.name not in ours:
                self.outputs.append((str(path.relative_to(folder)), path.read_bytes()))

    def found(self) -> Iterator[tuple[str, str]]:
        """Yield which secret is where."""
        any_of_them = Scrubber(self.canaries.values())
        suspects = [(where, text) for where, text in self.outputs if any_of_them.places(text)]
        for name, secret in self.canaries.items():
            search = Scrubber([secret])
            for where, content in suspects:
                if search.places(content):
                    yield name, where


async def add_user(scene: Scene, user: str, *words: str) -> None:
    place = scene.lab.folder / "password"
    place.touch(mode=0o600)
    place.write_text(PASSWORD + "\n")
    await scene.lab.relay_command("user", "add", user, "--password-file", str(place), *words)


@asynccontextmanager
async def client(sweep: Sweep | None, base: str) -> AsyncIterator[httpx2.AsyncClient]:
    hooks: dict[str, list[Any]] = {"response": [sweep.hear]} if sweep else {}
    async with httpx2.AsyncClient(base_url=base, trust_env=False, event_hooks=hooks) as http:
        yield http


async def log_in_an_agent(scene: Scene, sweep: Sweep) -> dict[str, str]:
    """Go all the way of OAuth; returns what a thief of it would send again."""
    words = ("agent", "add", "desk", "--redirect-uri", CALLBACK, "--secret")
    secret = (await scene.lab.relay_json(*words))["secret"]
    verifier, state = secrets.token_urlsafe(32), secrets.token_urlsafe(24)
    digest = hashlib.sha256(verifier.encode()).digest()
    asked = {
        "response_type": "code",
        "client_id": "desk",
        "redirect_uri": CALLBACK,
        "state": state,
        "code_challenge": base64.urlsafe_b64encode(digest).decode().rstrip("="),
        "code_challenge_method": "S256",
        "resource": scene.lab.url(SERVER),
    }
    async with client(None, scene.lab.origin) as http:
        browser = Browser(http, scene.lab.origin)
        await browser.open(str(httpx2.URL(f"{scene.lab.origin}/oauth/authorize", params=asked)))
        await browser.log_in("root", PASSWORD)
        await browser.submit("allow")
        code = browser.brought["code"]
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": CALLBACK,
            "client_id": "desk",
            "client_secret": secret,
            "code_verifier": verifier,
            "resource": scene.lab.url(SERVER),
        }
        made = (await http.post("/oauth/token", data=form)).json()
    sweep.canaries |= {"client secret": secret, "code": code, "verifier": verifier}
    sweep.canaries |= {"access": made["access_token"], "refresh": made["refresh_token"]}
    return form


async def use_as_a_thief(scene: Scene, sweep: Sweep, form: dict[str, str], gone: Grant) -> None:
    """Show every secret where it belongs and where it does not."""
    path = f"/t/{TUNNEL}/{SERVER}/mcp"
    async with client(sweep, scene.lab.origin) as http:
        for name, secret in sweep.canaries.items():
            bearer = {"Authorization": f"Bearer {secret}"}
            answer = await http.post(path, headers=bearer, json=call("echo", case="canary"))
            assert answer.status_code == 401 or name in ("access", "session")
            await http.post(f"{path}?token={secret}&access_token={secret}", json={})
            await http.post(f"/t/{secret}/{secret}/mcp", headers=bearer, json={})
            await http.get(f"/oauth/authorize?client_id={secret}&code={secret}")
        await http.post("/oauth/token", data=form)  # the code, again: it ends what it had opened
        await http.post("/oauth/token", data=form | {"client_id": "another"})
        renew = {"grant_type": "refresh_token", "refresh_token": sweep.canaries["refresh"]}
        await http.post("/oauth/token", data=form | renew)
        await http.post("/oauth/revoke", data=form | {"token": sweep.canaries["access"]})
    for message in (call("echo"), b"{broken"):
        reply = await gone.agent.ask(message)
        sweep.outputs.append(("agent", str(reply.headers).encode() + reply.body))


async def look_everywhere(scene: Scene, sweep: Sweep, port: int) -> None:
    """Open what admins can open, with a cookie and with a token."""
    base = f"http://localhost:{port}"
    async with client(None, base) as http:
        answer = await Hand(http).post("/login", {"user": "root", "password": PASSWORD})
        sweep.canaries["cookie"] = cookie_of(answer)
    async with client(sweep, base) as http:
        hand = Hand(http, sweep.canaries["cookie"])
        bearer = {"Authorization": f"Bearer {sweep.canaries['admin token']}"}
        for page in PAGES:
            seen = await hand.get(page)
            assert seen.status_code == 200, page
        page = f"/sessions/{scene.main.id}"
        assert (await hand.get(page)).status_code == 200
        for command in ("status", "session_list", "user_list", "user_tokens", "agent_list"):
            assert (await http.post(f"/v1/{command}", json={}, headers=bearer)).status_code == 200
        for secret in sweep.canaries.values():
            await http.post(f"/v1/{secret}", json={"x": secret}, headers=bearer)
            await hand.get(f"/sessions/{secret}")
            await http.get(f"/?token={secret}")
            await Hand(http).post("/login", {"user": "root", "password": f"{secret}x"})
    report = ("report", "--output", str(scene.lab.folder / "report.html"))
    for words in (*LISTINGS, report):
        sweep.outputs.append((" ".join(words), (await scene.lab.relay_command(*words)).encode()))


def test_the_sweep_finds_what_it_looks_for() -> None:
    sweep = Sweep()
    for name, spelt in (
        ("plain", PASSWORD.encode()),
        ("hex", PASSWORD.encode().hex().encode()),
        ("base64", base64.b64encode(b"x" + PASSWORD.encode())),
        ("percent", "".join(f"%{ord(each):02x}" for each in PASSWORD).encode()),
        ("digest", hashlib.sha256(PASSWORD.encode()).digest()),
    ):
        sweep.outputs.append((name, b"before " + spelt + b" after"))
    assert [where for _, where in sweep.found()] == ["plain", "hex", "base64", "percent"]


async def test_s19_no_secret_comes_out_anywhere_after_it_was_handed_out() -> None:
    port, sweep = free_port(), Sweep()
    async with open_scene({"admin.port": port}) as scene:
        await add_user(scene, "root", "--role", "admin", "--server", f"{TUNNEL}/{SERVER}")
        made = await scene.lab.relay_json("user", "token", "root", "--ttl", "10m")
        join = await scene.lab.relay_json("tunnel", "rotate", TUNNEL)
        gone = await scene.grant()
        assert scene.agent.token is not None
        assert gone.agent.token is not None
        sweep.canaries |= {"admin token": made["token"], "join code": join["join_code"]}
        sweep.canaries["session"] = scene.agent.token.get_secret_value()
        sweep.canaries["revoked"] = gone.agent.token.get_secret_value()
        await scene.lab.relay_command("session", "revoke", gone.id, "--reason", "canary")
        form = await log_in_an_agent(scene, sweep)
        await use_as_a_thief(scene, sweep, form, gone)
        await look_everywhere(scene, sweep, port)
        sweep.outputs += [("upstream", str(each.headers).encode()) for each in scene.upstream.seen]
        await scene.lab.stop()
        sweep.files(scene.lab.folder, {"password", "join-code"})
    assert len(sweep.canaries) == 11
    names = {where.rpartition("/")[2] for where, _ in sweep.outputs}
    assert {"relay.db", "relay.log", "client.log", "report.html"} <= names
    assert list(sweep.found()) == []
