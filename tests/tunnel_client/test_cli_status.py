"""`tunnel-client status`, once and watched, beside a daemon's control socket and without one."""

import asyncio
import json
from pathlib import Path
from typing import Any

from click.testing import CliRunner, Result

from tests.tunnel_client.doctor.doctored import enrolled
from tunnel_client.cli import cli
from tunnel_client.control import SOCKET_FILE, ControlServer

STATUS: dict[str, Any] = {"connected": False, "upstreams": [], "version": "1", "pid": 7}


def configured(folder: Path) -> list[str]:
    settings = enrolled(folder, "ws://127.0.0.1:9")
    config = folder / "client.toml"
    config.write_text(
        f"state_dir = {json.dumps(str(settings.state_dir))}\n[relay]\n"
        f'url = "ws://127.0.0.1:9"\ntunnel = "lab"\npublic_key = "{settings.relay.public_key}"\n'
    )
    return ["--config", str(config)]


def run(*words: str) -> Result:
    return CliRunner().invoke(cli, words)


def test_without_a_daemon_it_fails_and_watched_it_goes_on(tmp_path: Path) -> None:
    words = configured(tmp_path)
    assert run("status", *words).exit_code == 69
    watched = run("status", *words, "--watch", "--interval", "0.5", "--times", "2", "--json")
    assert watched.exit_code == 0
    lines = [json.loads(line) for line in watched.output.splitlines()]
    assert [(line["running"], line["code"]) for line in lines] == [(False, "MT2106")] * 2


async def test_it_shows_what_the_daemon_says(tmp_path: Path) -> None:
    words = configured(tmp_path)
    async with ControlServer(tmp_path / "state" / SOCKET_FILE, lambda: STATUS):
        once = await asyncio.to_thread(run, "status", *words, "--json")
        screens = await asyncio.to_thread(run, "status", *words, "--watch", "--times", "1")
    assert json.loads(once.output)["pid"] == 7
    assert "NOT CONNECTED" in screens.output
    assert "\x1b" not in screens.output, "no terminal, no control characters"


def test_nobody_can_ask_for_screens_without_end(tmp_path: Path) -> None:
    result = run("status", *configured(tmp_path), "--watch", "--interval", "0.01")
    assert result.exit_code == 2
    assert "0.5" in result.output
