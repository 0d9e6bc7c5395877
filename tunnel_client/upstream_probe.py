"""Asks an upstream which MCP versions it speaks, the way an agent would."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import anyio

from shared.ids import new_id
from shared.jsonrpc.envelope import META_PREFIX, MODERN
from tunnel_client.consent.guard import Guards
from tunnel_client.credentials.guarded import GuardedUpstream
from tunnel_client.credentials.settings import VaultSettings
from tunnel_client.errors import ClientError
from tunnel_client.errors_upstreams import UpstreamTestError
from tunnel_client.settings import UpstreamSettings
from tunnel_client.upstream.base import Upstream, UpstreamRequest
from tunnel_client.upstream.stdio import StdioUpstream
from tunnel_client.upstream_ask import Answer, ask, initialize, modern
from tunnel_client.upstreams import make_upstream

PROBE_SECONDS = 20.0
"""For each of the two questions; a stdio server may have to start first."""
_SESSION = "0" * 32
_ENDED = re.compile(r"it (?:closed its output|ended with status -?\d+)$")


@dataclass(frozen=True, slots=True)
class Report:
    """What an upstream said of itself; `modern` and `legacy` are protocol versions."""

    modern: tuple[str, ...]
    legacy: str | None
    server: str

    def as_dict(self) -> dict[str, Any]:
        """Return it for JSON."""
        return {"modern": list(self.modern), "legacy": self.legacy, "server": self.server}


async def probe_upstream(
    settings: UpstreamSettings,
    environ: Mapping[str, str],
    guards: Guards,
    vault: VaultSettings | None = None,
) -> Report:
    """Ask for `server/discover`, then `initialize`; raises UpstreamTestError when neither works,
    and what the guard of a stdio upstream says.

    What was started for it is ended before this returns.
    """
    if settings.url is None:
        refusal = guards.of(settings, environ).refusal()
        if refusal is not None:
            raise refusal
    upstream = make_upstream(settings, environ, guards, vault)
    await upstream.start()
    try:
        try:
            return await introduce(upstream)
        finally:
            with anyio.CancelScope(shield=True):
                await upstream.aclose()
    except UpstreamTestError as error:
        explain(error, upstream)
        raise


def explain(error: ClientError, upstream: Upstream) -> None:
    """Put into a refusal how the program of a closed stdio upstream ended, and what it said."""
    program = upstream.inner if isinstance(upstream, GuardedUpstream) else upstream
    if isinstance(program, StdioUpstream) and program.last_words:
        before = _ENDED.sub("", error.cause)  # which says the same with less
        joint = "" if before != error.cause else "; "
        error.cause = f"{before}{joint}{program.last_words}"
        error.next = (
            "mend what it says, or what its sandbox keeps from it (--read, --write, --host), then:"
            f" tunnel-client upstream test {upstream.name}"
        )


async def introduce(upstream: Upstream) -> Report:
    """Ask a started upstream both questions; raises UpstreamTestError when neither works."""
    discovered, why = await _attempt(upstream, modern("server/discover", _SESSION))
    initialized, why_not = await _attempt(upstream, initialize(_SESSION, new_id()))
    upstream.end_session(_SESSION)
    versions = discovered.get("supportedVersions")
    listed = versions if isinstance(versions, list) else []
    spoken = tuple(each for each in listed if isinstance(each, str) and each >= MODERN)
    legacy = initialized.get("protocolVersion")
    if not spoken and not isinstance(legacy, str):
        reason = why_not or why
        told = "no version we know" if reason is None else reason.cause
        kind = UpstreamTestError if reason is None else type(reason)
        error = kind(f"{upstream.name}: {told}", None if reason is None else reason.next)
        error.naming(NAME=upstream.name)
        error.unreachable = reason is not None and reason.unreachable
        raise error
    return Report(
        spoken, legacy if isinstance(legacy, str) else None, server_name(discovered, initialized)
    )


def verdict(name: str, report: Report) -> str:
    """Say it in one line."""
    eras = [f"modern ({', '.join(report.modern)})"] if report.modern else []
    eras += [f"legacy ({report.legacy})"] if report.legacy else []
    return (
        f"ok: {name} is {report.server or 'a server without a name'}, speaks {' and '.join(eras)}"
    )


async def _attempt(
    upstream: Upstream, request: UpstreamRequest
) -> tuple[dict[str, Any], UpstreamTestError | None]:
    """Return the result, or an empty one and why there is none."""
    try:
        message = await ask(upstream, request, Answer(), PROBE_SECONDS)
    except UpstreamTestError as error:
        return {}, error
    result = message.get("result")
    if isinstance(result, dict):
        return result, None
    return {}, UpstreamTestError("it refused to introduce itself")


def server_name(*results: dict[str, Any]) -> str:
    """Return what a server calls itself in either introduction; cut and printable."""
    for result in results:
        meta = result.get("_meta")
        inside = meta.get(f"{META_PREFIX}serverInfo") if isinstance(meta, dict) else None
        for info in (result.get("serverInfo"), inside):
            if isinstance(info, dict) and isinstance(info.get("name"), str):
                text = f"{info['name']} {info.get('version', '')}"[:100].strip()
                return "".join(char if char.isprintable() else "?" for char in text)
    return ""
