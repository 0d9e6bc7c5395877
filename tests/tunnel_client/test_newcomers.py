"""Typical mistakes of a first hour: each is answered with its cause and a command that helps."""

import asyncio
import contextlib
import os
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path

import anyio
import pytest
from click.testing import CliRunner

from shared.ids import JOIN_PREFIX, new_token
from tests.tunnel_client.test_settings import HEAD, HTTP
from tunnel_client.cli import cli
from tunnel_client.consent.guard import Guards
from tunnel_client.dial import DialTarget, dial
from tunnel_client.errors import ClientError, ConnectError, StateWriteError
from tunnel_client.errors_upstreams import UpstreamTestError
from tunnel_client.identity import StateLock
from tunnel_client.relay_url import RelayUrl
from tunnel_client.settings import UpstreamSettings
from tunnel_client.upstream_probe import probe_upstream


@contextlib.asynccontextmanager
async def saying(status: int) -> AsyncIterator[int]:
    """Answer everything with this status and nothing else; yields the port."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            await reader.readuntil(b"\r\n\r\n")
            head = f"HTTP/1.1 {status} X\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
            writer.write(head.encode())
            await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()


@pytest.mark.parametrize(
    ("status", "cause", "after"),
    [
        (401, "wants a credential", "--credential"),
        (403, "wants a credential", "--credential"),
        (404, "not as an MCP server does (HTTP 404)", "check the path in its url"),
    ],
)
async def test_an_upstream_that_is_another_or_locked(status: int, cause: str, after: str) -> None:
    async with saying(status) as port:
        upstream = UpstreamSettings(name="x", url=f"http://127.0.0.1:{port}/mcp")
        with pytest.raises(UpstreamTestError) as caught, anyio.fail_after(20):
            await probe_upstream(upstream, {}, Guards(Path("/nonexistent"), ()))
    assert cause in caught.value.cause
    assert after in caught.value.next


async def test_an_enrolment_at_what_is_no_relay(tmp_path: Path) -> None:
    async with saying(404) as port:
        code = tmp_path / "code"
        code.write_text(new_token(JOIN_PREFIX))
        folders = ("--config", tmp_path / "c" / "client.toml", "--state-dir", tmp_path / "s")
        words = ("enroll", f"ws://127.0.0.1:{port}", "--join-code-file", code, *folders)
        told = await asyncio.to_thread(CliRunner().invoke, cli, [str(word) for word in words])
    assert f"MT2303: 127.0.0.1:{port} answered 404 to the enrolment; it may be no" in told.stderr
    assert "next: compare the URL with public_url" in told.stderr


async def test_a_port_where_nobody_listens() -> None:
    async with saying(200) as port:
        pass
    with pytest.raises(ConnectError, match="Connection refused") as caught:
        await dial(DialTarget(RelayUrl.parse(f"ws://127.0.0.1:{port}")), asyncio.Protocol)
    assert "curl -v" in caught.value.next


def test_a_join_code_file_that_is_not_there(tmp_path: Path) -> None:
    words = ["enroll", "wss://relay.example", "--join-code-file", str(tmp_path / "none")]
    folders = ["--config", str(tmp_path / "c.toml"), "--state-dir", str(tmp_path / "s")]
    told = CliRunner().invoke(cli, words + folders)
    assert f"next: ls -l {tmp_path / 'none'}" in told.stderr


def test_an_authority_that_is_no_certificate(tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text("hello")
    (tmp_path / "code").write_text(new_token(JOIN_PREFIX))
    words = ["enroll", "wss://localhost:1", "--ca-file", str(tmp_path / "ca.pem")]
    folders = ["--config", str(tmp_path / "c.toml"), "--state-dir", str(tmp_path / "s")]
    told = CliRunner().invoke(cli, [*words, "--join-code-file", str(tmp_path / "code"), *folders])
    assert "MT2206: cannot read CA file" in told.stderr
    assert "next: openssl x509" in told.stderr


@pytest.mark.parametrize("again", [("files", "http://h/"), ("x", "127.0.0.1:3000/mcp")])
def test_an_upstream_that_cannot_be_added(tmp_path: Path, again: tuple[str, str]) -> None:
    config = tmp_path / "client.toml"
    config.write_text(HEAD + HTTP)
    name, url = again
    words = ["upstream", "add", name, "--url", url, "--config", str(config)]
    told = CliRunner().invoke(cli, words)
    assert "next: tunnel-client upstream add --help" in told.stderr, "nothing was written"


def test_a_state_folder_that_cannot_be_used() -> None:
    with pytest.raises(StateWriteError) as caught:
        StateLock(Path("/proc/nope"))
    assert "--state-dir names another folder" in caught.value.next


@pytest.mark.skipif(os.geteuid() != 0, reason="only root mounts a small disk")
def test_a_disk_that_is_full(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=16k", "tmpfs", str(disk)], check=False
    )
    if mounted.returncode:
        pytest.skip("this machine mounts nothing")
    try:
        with contextlib.suppress(OSError):
            (disk / "full").write_bytes(bytes(64 * 1024))
        with pytest.raises(ClientError) as caught:
            StateLock(disk / "state")
        assert caught.value.next == f"df -h {disk}"
    finally:
        subprocess.run(["umount", str(disk)], check=True)
