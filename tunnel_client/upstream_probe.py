"""Asks an upstream which MCP versions it speaks, the way an agent would."""

import asyncio
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import anyio

from shared.errors import ResetCode
from shared.ids import new_id
from shared.jsonrpc.envelope import CAPABILITIES_KEY, META_PREFIX, MODERN, VERSION_KEY, parse
from shared.version import VERSION
from tunnel_client.consent.guard import Guards
from tunnel_client.errors import UpstreamTestError
from tunnel_client.settings import UpstreamSettings
from tunnel_client.upstream.base import Headers, Upstream, UpstreamRequest
from tunnel_client.upstreams import make_upstream

PROBE_SECONDS = 20.0
"""For each of the two questions; a stdio server may have to start first."""
LEGACY = "2025-11-25"
_MAX_ANSWER_BYTES = 1024 * 1024
_SESSION = "0" * 32
_CLIENT = {"name": "tunnel-client", "version": VERSION}


@dataclass(frozen=True, slots=True)
class Report:
    """What an upstream said of itself; `modern` and `legacy` are protocol versions."""

    modern: tuple[str, ...]
    legacy: str | None
    server: str

    def as_dict(self) -> dict[str, Any]:
        """Return it for JSON."""
        return {"modern": list(self.modern), "legacy": self.legacy, "server": self.server}


class _Answer:
    """A `Reply` that waits for one JSON-RPC answer, as JSON or as an event stream."""

    def __init__(self) -> None:
        self.result: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
        self._events = False
        self._body = bytearray()

    def head(self, status: int, headers: Headers, end: bool = False) -> None:
        kind = next((value for name, value in headers if name == b"content-type"), b"")
        self._events = kind.lower().startswith(b"text/event-stream")
        if end:
            self._settle(last=True)

    def data(self, chunk: bytes, end: bool = False) -> bool:
        self._body += chunk
        if len(self._body) > _MAX_ANSWER_BYTES:
            self.fail(ResetCode.TOO_LARGE, "the answer is larger than 1 MiB")
        else:
            self._settle(last=end)
        return True

    def fail(self, code: ResetCode, detail: str) -> None:
        if not self.result.done():
            self.result.set_exception(UpstreamTestError(detail))

    def _settle(self, last: bool) -> None:
        if self.result.done() or not (last or self._events):
            return
        for text in self._messages():
            try:
                message = json.loads(text)
            except (ValueError, RecursionError):
                continue
            if isinstance(message, dict) and ("result" in message or "error" in message):
                self.result.set_result(message)
                return
        if last:
            self.fail(ResetCode.UPSTREAM_BROKE, "it answered, but not as an MCP server does")

    def _messages(self) -> Iterable[bytes]:
        if not self._events:
            return [bytes(self._body)]
        lines = bytes(self._body).replace(b"\r\n", b"\n").split(b"\n")[:-1]
        return [line.removeprefix(b"data:") for line in lines if line.startswith(b"data:")]


async def probe_upstream(
    settings: UpstreamSettings, environ: Mapping[str, str], guards: Guards
) -> Report:
    """Ask for `server/discover`, then `initialize`; raises UpstreamTestError when neither works,
    and what the guard of a stdio upstream says.

    What was started for it is ended before this returns.
    """
    if settings.url is None:
        refusal = guards.of(settings, environ).refusal()
        if refusal is not None:
            raise refusal
    upstream = make_upstream(settings, environ, guards)
    await upstream.start()
    try:
        discovered, why = await _attempt(upstream, _discover())
        initialized, why_not = await _attempt(upstream, _initialize())
        upstream.end_session(_SESSION)
    finally:
        with anyio.CancelScope(shield=True):
            await upstream.aclose()
    versions = discovered.get("supportedVersions")
    listed = versions if isinstance(versions, list) else []
    modern = tuple(each for each in listed if isinstance(each, str) and each >= MODERN)
    legacy = initialized.get("protocolVersion")
    if not modern and not isinstance(legacy, str):
        raise UpstreamTestError(f"{settings.name}: {why_not or why or 'no version we know'}")
    return Report(
        modern, legacy if isinstance(legacy, str) else None, _server(discovered, initialized)
    )


def verdict(name: str, report: Report) -> str:
    """Say it in one line."""
    eras = [f"modern ({', '.join(report.modern)})"] if report.modern else []
    eras += [f"legacy ({report.legacy})"] if report.legacy else []
    return (
        f"ok: {name} is {report.server or 'a server without a name'}, speaks {' and '.join(eras)}"
    )


async def _attempt(upstream: Upstream, request: UpstreamRequest) -> tuple[dict[str, Any], str]:
    """Return the result, or an empty one and why there is none."""
    answer = _Answer()
    exchange = upstream.open(request, answer)
    try:
        with anyio.fail_after(PROBE_SECONDS):
            message = await answer.result
    except UpstreamTestError as error:
        return {}, error.cause
    except TimeoutError:
        return {}, f"no answer within {PROBE_SECONDS:.0f} s"
    finally:
        exchange.cancel()
    result = message.get("result")
    return (result, "") if isinstance(result, dict) else ({}, "it refused to introduce itself")


def _discover() -> UpstreamRequest:
    meta = {VERSION_KEY: MODERN, CAPABILITIES_KEY: {}, f"{META_PREFIX}clientInfo": _CLIENT}
    headers = [(b"mcp-protocol-version", MODERN.encode()), (b"mcp-method", b"server/discover")]
    return _request("server/discover", {"_meta": meta}, headers, None)


def _initialize() -> UpstreamRequest:
    params = {"protocolVersion": LEGACY, "capabilities": {}, "clientInfo": _CLIENT}
    return _request("initialize", params, [], new_id())


def _request(
    method: str, params: dict[str, Any], headers: Headers, mcp_session: str | None
) -> UpstreamRequest:
    body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}).encode()
    common = [
        (b"content-type", b"application/json"),
        (b"accept", b"application/json, text/event-stream"),
    ]
    return UpstreamRequest("POST", common + headers, body, parse(body), _SESSION, mcp_session)


def _server(*results: dict[str, Any]) -> str:
    for result in results:
        meta = result.get("_meta")
        inside = meta.get(f"{META_PREFIX}serverInfo") if isinstance(meta, dict) else None
        for info in (result.get("serverInfo"), inside):
            if isinstance(info, dict) and isinstance(info.get("name"), str):
                text = f"{info['name']} {info.get('version', '')}"[:100].strip()
                return "".join(char if char.isprintable() else "?" for char in text)
    return ""
