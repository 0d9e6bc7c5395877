"""One real call through the relay, as an agent makes it, and whether a revocation lands.

A client can get no session by itself: sessions tie a user to a call, and only the relay makes them.
Whoever wants the call made brings a token of a short session.
"""

import json
from contextlib import suppress
from functools import partial
from typing import Any

import anyio

from shared.checkup import SkippedError
from tunnel_client.dial import dial
from tunnel_client.doctor.errors import CallFailedError
from tunnel_client.doctor.scene import Scene
from tunnel_client.errors import ClientError, ConnectError, EnrolRefusedError
from tunnel_client.errors_connect import TokenRefusedError
from tunnel_client.errors_upstreams import UnknownUpstreamError
from tunnel_client.http_once import OneExchange
from tunnel_client.upstream_ask import LEGACY

SECONDS = 15.0
END_SECONDS = 5.0
"""For the end of what the call began."""


def session_command(tunnel: str, upstream: str) -> str:
    """Return the command that makes the session a call needs."""
    return (
        f"on the relay: tunnel-relay session create --user USER --agent doctor "
        f"--server {tunnel}/{upstream} --ttl 5m; then here: MCP_TUNNEL_TOKEN=... "
        "tunnel-client doctor --through-relay --token env:MCP_TUNNEL_TOKEN"
    )


def _called(scene: Scene) -> str:
    names = [each.name for each in scene.settings.upstream]
    if scene.server is not None and scene.server not in names:
        there = ", ".join(names) or "none"
        raise UnknownUpstreamError(f"no upstream is called {scene.server}; configured: {there}")
    if not names:
        raise SkippedError("no upstream is configured", "tunnel-client upstream add NAME --url URL")
    return scene.server or names[0]


async def call(scene: Scene) -> str:
    """Does a call go from an agent's side through the relay to the upstream and back?"""
    tunnel, name = scene.settings.relay.tunnel, _called(scene)
    if scene.daemon is None:
        raise SkippedError("no daemon serves here", "tunnel-client run")
    if scene.token is None:
        raise SkippedError("no session token was given", session_command(tunnel, name))
    began: list[bytes] = []
    try:
        status, answer = await _exchange(scene, name, _initialize(), began)
        return judge_call(status, answer, f"{tunnel}/{name}")
    finally:
        await _end(scene, name, began)


def _initialize() -> bytes:
    params = {
        "protocolVersion": LEGACY,
        "capabilities": {},
        "clientInfo": {"name": "tunnel-client doctor", "version": "1"},
    }
    message = {"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": params}
    return json.dumps(message).encode()


async def _exchange(scene: Scene, name: str, body: bytes, began: list[bytes]) -> tuple[int, bytes]:
    """Post `body` to the upstream `name`; in `began` is the MCP session of the answer's head."""
    kinds = "Content-Type: application/json\r\nAccept: application/json, text/event-stream\r\n"
    head = _head(scene, "POST", name, f"{kinds}Content-Length: {len(body)}\r\n")
    transport, exchange = await dial(scene.way(), lambda: OneExchange(head + body))
    try:
        return await exchange.answer()
    except (EnrolRefusedError, ConnectError) as error:
        raise CallFailedError(error.cause) from None
    finally:
        transport.abort()
        if session := exchange.field(b"mcp-session-id"):
            began.append(session)


async def _end(scene: Scene, name: str, began: list[bytes]) -> None:
    """End the MCP sessions that began, whatever became of the call; the child of one would stay.

    A server that keeps them says 405, and one that is not reached any more ends them by itself.
    """
    for session in began:
        fields = f"Mcp-Session-Id: {session.decode('latin-1')}\r\n"
        head = _head(scene, "DELETE", name, f"{fields}Mcp-Protocol-Version: {LEGACY}\r\n")
        with suppress(ClientError), anyio.move_on_after(END_SECONDS, shield=True):
            transport, exchange = await dial(scene.way(), partial(OneExchange, head))
            try:
                await exchange.answer()
            finally:
                transport.abort()


def _head(scene: Scene, method: str, name: str, fields: str) -> bytes:
    token = "" if scene.token is None else scene.token.get_secret_value()
    text = (
        f"{method} /t/{scene.settings.relay.tunnel}/{name}/mcp HTTP/1.1\r\n"
        f"Host: {scene.way().relay.authority}\r\nAuthorization: Bearer {token}\r\n"
        f"{fields}Connection: close\r\n\r\n"
    )
    return text.encode("latin-1")


def judge_call(status: int, answer: bytes, server: str) -> str:
    """Judge what came back; raises TokenRefusedError and CallFailedError. Pure."""
    if status == 401:
        raise TokenRefusedError("the relay does not take this token: wrong, over or revoked")
    if status == 404:
        raise CallFailedError(
            f"404: the token's session is not one for {server}", "tunnel-relay session list"
        )
    message = _message(answer)
    if status == 200 and isinstance(message.get("result"), dict):
        version = message["result"].get("protocolVersion")
        return f"initialize of {server} answered: {version}"
    error = message.get("error")
    said = error if isinstance(error, dict) else {}
    data = said.get("data") if isinstance(said.get("data"), dict) else {}
    by = f" by the {data['origin']}" if isinstance(data, dict) and "origin" in data else ""
    raise CallFailedError(f"HTTP {status}{by}: {said.get('message', 'no MCP answer')}")


def _message(answer: bytes) -> dict[str, Any]:
    """Return the JSON-RPC answer of a body that is JSON or an event stream; empty for neither."""
    lines = [
        line.removeprefix(b"data:")
        for line in answer.replace(b"\r\n", b"\n").split(b"\n")
        if line.startswith(b"data:")
    ]
    for text in (answer, *lines):
        try:
            found = json.loads(text)
        except (ValueError, RecursionError):
            continue
        if isinstance(found, dict) and ("result" in found or "error" in found):
            return found
    return {}


async def revocation(scene: Scene) -> str:
    """Say how to see that a revocation lands: only the relay's admin can give one."""
    raise SkippedError(
        "only an admin of the relay can revoke",
        "on the relay: tunnel-relay session revoke SESSION; it says how many clients cut it, and "
        "this command then fails with MT2055",
    )
