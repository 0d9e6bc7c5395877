"""An upstream made as the configuration says, in front of a raw server, and what agents saw."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import anyio

from tests.helpers.consented import make_consented
from tests.tunnel_client.upstream.http_support import SESSION, Recorder, Seen, call
from tunnel_client.credentials.settings import CredentialSettings, VaultSettings
from tunnel_client.settings import UpstreamSettings
from tunnel_client.upstream.base import Headers, Upstream, UpstreamRequest

CANARY = "cnry-Zq8x4Lm2Pw7Tf0Kd"


def secret_file(folder: Path, value: str = CANARY, name: str = "token") -> str:
    """Write a secret only we can read and return the reference to it."""
    path = folder / name
    path.touch(mode=0o600)
    path.write_text(value + "\n")
    return f"file:{path}"


def upstream_settings(url: str, **credential: Any) -> UpstreamSettings:
    """Return an upstream whose credential is bound to where `url` leads."""
    origin = url.partition("/mcp")[0]
    given = CredentialSettings.model_validate({"origin": origin, **credential})
    return UpstreamSettings(name="private", url=url, credential=given)


@asynccontextmanager
async def serving(
    settings: UpstreamSettings,
    environ: dict[str, str] | None = None,
    vault: VaultSettings | None = None,
) -> AsyncIterator[Upstream]:
    """Run the upstream until the block ends."""
    upstream = make_consented(settings, environ or {}, vault)
    await upstream.start()
    try:
        yield upstream
    finally:
        with anyio.fail_after(10):
            await upstream.aclose()


async def asked(
    upstream: Upstream,
    *headers: tuple[bytes, bytes],
    user: str | None = None,
    session: str = SESSION,
) -> Recorder:
    """Make one call and wait for its end."""
    reply = Recorder()
    upstream.open(replace(made(*headers, user=user), session=session), reply)
    return await reply.done()


def made(*headers: tuple[bytes, bytes], user: str | None = None) -> UpstreamRequest:
    """Return a call of a user."""
    given: Headers = [(b"content-type", b"application/json"), *headers]
    return replace(call(headers=given), user=user)


async def echo(seen: Seen, writer: asyncio.StreamWriter) -> None:
    """Answer with every header that came."""
    told = {name.decode(): value.decode() for name, value in seen.headers}
    body = json.dumps({"jsonrpc": "2.0", "id": 7, "result": told}).encode()
    head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
    writer.write(head % len(body) + body)
