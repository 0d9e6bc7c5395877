"""What a client reads again while it runs: the next connection is made by it, no other is ended."""

import shutil
import ssl
from pathlib import Path

import anyio
import pytest
from structlog.testing import capture_logs

from tests.helpers.tls import Authority
from tests.tunnel_client.credentials.support import asked, secret_file, serving, upstream_settings
from tests.tunnel_client.upstream.http_support import OK, raw_server, says
from tunnel_client.reload import read_again
from tunnel_client.settings import UpstreamSettings
from tunnel_client.upstream.http_target import HttpTarget
from tunnel_client.upstreams import target_of


async def test_an_authority_is_read_again_and_a_file_that_is_none_changes_nothing(
    tmp_path: Path,
) -> None:
    old, new = Authority(), Authority()
    ca = old.write(tmp_path / "ca.pem")
    async with raw_server(says(OK), tls=new.server("localhost")) as server:
        settings = UpstreamSettings(
            name="private", url=f"https://localhost:{server.port}/mcp", ca_file=ca
        )
        async with serving(settings) as upstream:
            assert (await asked(upstream)).failure is not None
            new.write(ca)
            assert (await asked(upstream)).failure is not None, "nobody said so yet"
            assert await read_again([settings], {"private": upstream})
            assert (await asked(upstream)).status == 200
            ca.write_text("none")
            with capture_logs() as lines:
                assert not await read_again([settings], {"private": upstream})
            assert lines[0]["upstream"] == "private"
            assert (await asked(upstream)).status == 200
            assert server.connections == 1, "and the open one is used on"


async def test_a_client_certificate_is_read_again_and_its_key_must_still_be_ours(
    tmp_path: Path,
) -> None:
    believed, other = Authority(), Authority()
    context = believed.server("localhost")
    context.load_verify_locations(cafile=str(believed.write(tmp_path / "ca.pem")))
    context.verify_mode = ssl.CERT_REQUIRED
    names = ("old", "new")
    pairs = [
        each.files(_folder(tmp_path / name), "client.internal")
        for name, each in zip(names, (other, believed), strict=True)
    ]
    chain, key = (Path(shutil.copy(part, tmp_path)) for part in pairs[0])
    async with raw_server(says(OK), tls=context) as server:
        url = f"https://localhost:{server.port}/mcp"
        settings = upstream_settings(url, kind="mtls", cert_file=str(chain), key_file=str(key))
        settings = settings.model_copy(update={"ca_file": tmp_path / "ca.pem"})
        async with serving(settings) as upstream:
            assert (await asked(upstream)).failure is not None
            for part in pairs[1]:
                shutil.copy(part, tmp_path)
            key.chmod(0o644)
            assert not await read_again([settings], {"private": upstream})
            key.chmod(0o600)
            assert await read_again([settings], {"private": upstream})
            assert (await asked(upstream)).status == 200


async def test_a_credential_is_fetched_anew(tmp_path: Path) -> None:
    fresh = "cnry-newer-3Xk8Vb1Nq7"
    async with raw_server(says(OK)) as server:
        url = f"http://127.0.0.1:{server.port}/mcp"
        settings = upstream_settings(url, kind="bearer", value=secret_file(tmp_path))
        async with serving(settings) as upstream:
            secret_file(tmp_path, fresh)
            assert await read_again([settings], {"private": upstream})
            shown = b""
            with anyio.fail_after(10):
                while not shown.endswith(fresh.encode()):
                    assert (await asked(upstream)).status == 200
                    shown = dict(server.seen[-1].headers)[b"authorization"]


async def test_one_upstream_that_breaks_leaves_the_others_theirs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever a library makes of a file that changes while it is read."""
    old, new = Authority(), Authority()
    ca = old.write(tmp_path / "ca.pem")
    async with raw_server(says(OK), tls=new.server("localhost")) as server:
        url = f"https://localhost:{server.port}/mcp"
        settings = UpstreamSettings(name="private", url=url, ca_file=ca)
        odd = settings.model_copy(update={"name": "odd"})

        def breaks(each: UpstreamSettings, url: str) -> HttpTarget:
            if each.name == "odd":
                raise ssl.SSLError("hunter2")
            return target_of(each, url)

        monkeypatch.setattr("tunnel_client.reload.target_of", breaks)
        async with serving(settings) as upstream:
            new.write(ca)
            with capture_logs() as lines:
                assert not await read_again([odd, settings], {"private": upstream, "odd": upstream})
            assert [line["upstream"] for line in lines] == ["odd"]
            assert "hunter2" not in str(lines)
            assert (await asked(upstream)).status == 200


def _folder(path: Path) -> Path:
    path.mkdir()
    return path
