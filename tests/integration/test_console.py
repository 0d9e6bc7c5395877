"""The admin listener of a running relay: its own tokens open it, and nothing else does."""

import socket
import subprocess
from pathlib import Path

import httpx2
import pytest
from pydantic import SecretStr

from tests.helpers.agent import call
from tests.helpers.login import Browser
from tests.helpers.tunnel import BIN, free_port
from tests.integration.scene import LINKS, Scene, open_scene
from tests.tunnel_relay.console.stage import PASSWORD, Hand, cookie_of
from tunnel_relay.admin.logins import COOKIE

CALLBACK = "http://127.0.0.1:9/callback"


async def add_admin(scene: Scene, user: str) -> None:
    password = scene.lab.folder / "password"
    password.touch(mode=0o600)
    password.write_text(PASSWORD + "\n")
    words = ("user", "add", user, "--role", "admin", "--password-file", str(password))
    await scene.lab.relay_command(*words)


async def test_the_console_sees_and_ends_what_the_relay_serves() -> None:
    """U05: an agent's token is nothing here, an admin's token or cookie nothing there."""
    port = free_port()
    async with (
        open_scene({"admin.port": port}) as scene,
        httpx2.AsyncClient(base_url=f"http://localhost:{port}", trust_env=False) as http,
    ):
        await scene.linked()
        await add_admin(scene, "root")
        made = await scene.lab.relay_json("user", "token", "root", "--ttl", "10m")
        bearer = {"Authorization": f"Bearer {made['token']}"}
        status = (await http.post("/v1/status", json={}, headers=bearer)).json()["result"]
        assert status["links"][0]["upstreams"] == ["other", "server"]
        assert status["links"][0]["round_trip_ms"] >= 0

        assert scene.agent.token is not None
        theirs = {"Authorization": f"Bearer {scene.agent.token.get_secret_value()}"}
        assert (await http.post("/v1/status", json={}, headers=theirs)).status_code == 401

        hand = Hand(http)
        answer = await hand.post("/login", {"user": "root", "password": PASSWORD})
        hand.cookie = cookie_of(answer)
        page = await hand.get("/")
        hand.csrf = page.text.split('name="csrf" value="')[1].partition('"')[0]
        assert "connected" in page.text
        foreign = scene.agent.with_token(SecretStr(made["token"]))
        assert (await foreign.ask(call("echo"))).status == 401
        cookie = [("Cookie", f"{COOKIE}={hand.cookie}")]
        nobody = scene.agent.with_token(None)
        assert (await nobody.ask(call("echo"), headers=cookie)).status == 401
        assert (await nobody.at("/v1/status").ask(call("echo"), headers=cookie)).status == 404

        async with scene.agent.open(call("driven", case="cut-by-console")) as running:
            await scene.upstream.arrived("cut-by-console")
            where = f"/sessions/{scene.main.id}"
            done = await hand.post(f"{where}/revoke", {"reason": "laptop lost"})
            assert done.status_code == 303
            told = (await hand.get(where)).text
            assert f"cut 1 streams on {LINKS} links in" in told
            await running.broken_or_whole()
        assert (await scene.agent.ask(call("echo"))).status == 401
        feed = (await hand.get("/events")).text
        for event in ("link up", "session created", "session revoked", "console login"):
            assert event in feed, event
        for secret in (made["token"], scene.agent.token.get_secret_value(), hand.cookie, PASSWORD):
            assert secret not in feed
            assert secret not in scene.log("relay.log")
        await scene.lab.relay_command("user", "token-revoke", made["admin_token"]["id"])
        assert (await http.post("/v1/status", json={}, headers=bearer)).status_code == 401


async def test_one_password_is_guessed_at_as_often_at_two_doors_as_at_one() -> None:
    """U10: guesses at the console count at the login of agents' users, and the other way."""
    port = free_port()
    async with (
        open_scene({"admin.port": port}) as scene,
        httpx2.AsyncClient(base_url=f"http://localhost:{port}", trust_env=False) as http,
    ):
        for user in ("root", "mia"):
            await add_admin(scene, user)
        await scene.lab.relay_command("agent", "add", "desk", "--redirect-uri", CALLBACK)
        browser = Browser(http, scene.lab.origin)
        query = {
            "response_type": "code",
            "client_id": "desk",
            "redirect_uri": CALLBACK,
            "code_challenge": "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM",
            "code_challenge_method": "S256",
            "resource": scene.lab.url("server"),
        }
        await browser.open(str(httpx2.URL(f"{scene.lab.origin}/oauth/authorize", params=query)))

        async def at_console(user: str, password: str = PASSWORD) -> int:
            return (
                await Hand(http).post("/login", {"user": user, "password": password})
            ).status_code

        async def at_oauth(user: str, password: str = PASSWORD) -> int:
            await browser.log_in(user, password)
            assert browser.page is not None
            return browser.page.status_code

        assert [await at_console("root", "wrong") for _ in range(5)] == [403] * 5
        assert await at_oauth("root") == 429
        assert [await at_oauth("mia", "wrong") for _ in range(5)] == [401] * 5
        assert await at_console("mia") == 429


@pytest.mark.parametrize("which", ["admin", "listen"])
def test_a_port_that_is_taken_ends_the_relay_with_a_clear_word(tmp_path: Path, which: str) -> None:
    config = tmp_path / "relay.toml"
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        other = free_port()
        listen, admin = (other, port) if which == "admin" else (port, other)
        words = [str(BIN / "tunnel-relay"), "init", "--public-url", "https://a.example"]
        words += ["--config", str(config), "--state-dir", str(tmp_path / "state")]
        words += ["--listen", f"127.0.0.1:{listen}", "--admin-listen", f"127.0.0.1:{admin}"]
        subprocess.run(words, check=True, capture_output=True, timeout=60)
        serve = [str(BIN / "tunnel-relay"), "serve", "--config", str(config)]
        done = subprocess.run(serve, check=False, capture_output=True, text=True, timeout=60)
    assert done.returncode == 69
    assert f"MT1059: 127.0.0.1:{port}: " in done.stderr
    assert "address already in use" in done.stderr
    assert "Traceback" not in done.stderr
