"""The relay tells a service manager when it serves and when it stops."""

import asyncio
import os
import signal
import socket
from pathlib import Path

import anyio

from tests.helpers.tls import changing
from tests.helpers.tunnel import BIN, end, handing
from tunnel_relay.admin.runtime import lock_state
from tunnel_relay.settings import POLICY_FILE

DEADLINE = 30.0


async def made(tmp_path: Path) -> Path:
    """Make a relay; returns its configuration."""
    config = tmp_path / "relay.toml"
    words = ["init", "--demo", "--config", str(config), "--state-dir", str(tmp_path / "s")]
    done = await asyncio.create_subprocess_exec(BIN / "tunnel-relay", *words, stdout=-3)
    assert await done.wait() == 0
    return config


async def test_the_relay_is_ready_when_it_listens_and_says_that_it_stops(tmp_path: Path) -> None:
    config = await made(tmp_path)
    place = str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(place)
        manager.setblocking(False)
        process = await asyncio.create_subprocess_exec(
            *(BIN / "tunnel-relay", "serve", "--config", str(config)),
            env={
                **os.environ,
                "NOTIFY_SOCKET": place,
                "TUNNEL_RELAY_LISTEN__PORT": "0",
                "TUNNEL_RELAY_ADMIN__PORT": "0",
            },
            stderr=asyncio.subprocess.DEVNULL,
            start_new_session=True,
        )
        try:
            assert (await heard(manager)).startswith(b"READY=1\nSTATUS=0 links")
            assert (await heard(manager)).startswith(b"WATCHDOG=1\n")
            process.send_signal(signal.SIGHUP)
            while not (await heard(manager)).startswith(b"RELOADING=1\nMONOTONIC_USEC="):
                pass
            while await heard(manager) != b"READY=1\nSTATUS=policy read":
                pass
            (tmp_path / "s" / "dev-cert.pem").write_text("none")
            process.send_signal(signal.SIGHUP)
            while await heard(manager) != b"READY=1\nSTATUS=policy read, certificate refused":
                pass
        finally:
            await end(process)
        while await heard(manager) != b"STOPPING=1":
            pass


async def test_one_that_waits_for_the_state_reloads_once_it_serves(tmp_path: Path) -> None:
    """SIGHUP would end it as it ends any program that did not think of it."""
    config, place = await made(tmp_path), str(tmp_path / "notify")
    with (
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager,
        socket.create_server(("127.0.0.1", 0)) as handed,
    ):
        manager.bind(place)
        manager.setblocking(False)
        with lock_state(tmp_path / "s"), (tmp_path / "relay.log").open("wb") as log:
            process = await asyncio.create_subprocess_exec(
                *handing(handed),
                *(BIN / "tunnel-relay", "serve", "--config", str(config)),
                env={
                    **os.environ,
                    "NOTIFY_SOCKET": place,
                    "TUNNEL_RELAY_LISTEN__PORT": "0",
                    "TUNNEL_RELAY_ADMIN__PORT": "0",
                },
                pass_fds=[handed.fileno()],
                stderr=log,
                start_new_session=True,
            )
            assert await heard(manager) == b"STATUS=waiting for the relay before this one"
            (tmp_path / POLICY_FILE).write_text("none")
            process.send_signal(signal.SIGHUP)
            process.send_signal(signal.SIGHUP)
        try:
            with anyio.fail_after(DEADLINE):
                while await heard(manager) != b"READY=1\nSTATUS=policy refused":
                    pass
        finally:
            await end(process)
        assert process.returncode == 0
    assert (tmp_path / "relay.log").read_text().count("reload_was_asked") == 1


async def test_certificates_that_change_while_they_are_read_do_not_end_the_relay(
    tmp_path: Path,
) -> None:
    config, place = await made(tmp_path), str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(place)
        manager.setblocking(False)
        with (tmp_path / "relay.log").open("wb") as log:
            process = await asyncio.create_subprocess_exec(
                *(BIN / "tunnel-relay", "serve", "--config", str(config)),
                env={
                    **os.environ,
                    "NOTIFY_SOCKET": place,
                    "TUNNEL_RELAY_LISTEN__PORT": "0",
                    "TUNNEL_RELAY_ADMIN__PORT": "0",
                },
                stderr=log,
                start_new_session=True,
            )
        try:
            await until(manager, b"READY=1")
            files = [tmp_path / "s" / name for name in ("dev-cert.pem", "dev-key.pem")]
            good = {file: file.read_bytes() for file in files}
            with changing(dict.fromkeys(files, b"none"), good):
                for _ in range(50):
                    process.send_signal(signal.SIGHUP)
                    await until(manager, b"RELOADING=1")
                    await until(manager, b"READY=1\nSTATUS=policy read")
        finally:
            await end(process)
    assert process.returncode == 0, (tmp_path / "relay.log").read_text()[-3000:]


async def until(manager: socket.socket, begins: bytes) -> None:
    while not (await heard(manager)).startswith(begins):
        pass


async def heard(manager: socket.socket) -> bytes:
    with anyio.fail_after(DEADLINE):
        await anyio.wait_readable(manager)
    return manager.recv(4096)
