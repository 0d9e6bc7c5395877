"""Asks an upstream in the client's own name, the way an agent would, and waits for one answer."""

import asyncio
import json
from typing import Any

import anyio

from shared.errors import ResetCode
from shared.jsonrpc.canonical import exact
from shared.jsonrpc.envelope import CAPABILITIES_KEY, META_PREFIX, MODERN, VERSION_KEY, parse
from shared.version import VERSION
from tunnel_client.errors_upstreams import NoCredentialError, UpstreamTestError
from tunnel_client.upstream.base import Headers, Upstream, UpstreamRequest
from tunnel_client.upstream.http import ACCESS_REFUSED

LEGACY = "2025-11-25"
MAX_ANSWER_BYTES = 1024 * 1024
_CLIENT = {"name": "tunnel-client", "version": VERSION}
_ABILITIES: dict[str, Any] = {"roots": {}, "sampling": {}, "elicitation": {"form": {}, "url": {}}}
"""What we say we can do: servers offer some tools only to agents that can, and an operator has to
see all there are. A server that then asks us for it gets no answer."""
_COMMON = [
    (b"content-type", b"application/json"),
    (b"accept", b"application/json, text/event-stream"),
]


class Answer:
    """A `Reply` that waits for one JSON-RPC answer, as JSON or as an event stream.

    `limit` is the most bytes it takes. `result` gives the answer, or an empty object for a message
    that gets none, or raises UpstreamTestError.
    """

    def __init__(self, limit: int = MAX_ANSWER_BYTES, *, wanted: bool = True) -> None:
        self.result: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
        self.status = 0
        self.mcp_session = ""
        self.taken = 0
        self._limit = limit
        self._wanted = wanted
        self._events = False
        self._body = bytearray()

    def head(self, status: int, headers: Headers, end: bool = False) -> None:
        """Note what kind of answer it is."""
        found = dict(headers)
        self.status = status
        self.mcp_session = found.get(b"mcp-session-id", b"").decode("latin-1")
        self._events = found.get(b"content-type", b"").lower().startswith(b"text/event-stream")
        if end or not self._wanted:
            self._settle(last=True)

    def data(self, chunk: bytes, end: bool = False) -> bool:
        """Collect the body, or what is new of an event stream."""
        self.taken += len(chunk)
        if self.taken > self._limit:
            self._body.clear()
            self.fail(ResetCode.TOO_LARGE, f"the answer is larger than {_size(self._limit)}")
        elif not self.result.done():
            seen = len(self._body)
            self._body += chunk
            # A stream is read again only when a line of it ended: that keeps the time linear.
            if end or (self._events and self._body.find(b"\n", seen) >= 0):
                self._settle(last=end)
        return True

    def fail(self, code: ResetCode, detail: str) -> None:
        """Tell whoever waits that nothing comes."""
        if not self.result.done():
            error = UpstreamTestError(detail)
            error.unreachable = code is ResetCode.UPSTREAM_UNREACHABLE
            self.result.set_exception(error)

    def no_credential(self, why: str, next_command: str | None) -> None:
        """Tell whoever waits that there was nothing to ask with."""
        if not self.result.done():
            self.result.set_exception(NoCredentialError(why, next_command))

    def _settle(self, last: bool) -> None:
        if self.result.done():
            return
        if not self._wanted:
            self.result.set_result({})
            return
        for text in self._messages(last):
            try:
                message = exact(text)
            except (ValueError, RecursionError):
                continue
            if isinstance(message, dict) and ("result" in message or "error" in message):
                self._body.clear()
                self._take(message)
                return
        if last:
            self.result.set_exception(_no_answer_of_mcp(self.status))

    def _take(self, message: dict[str, Any]) -> None:
        error = message.get("error")
        if (
            self.status == 502
            and isinstance(error, dict)
            and error.get("message") == ACCESS_REFUSED
        ):
            self.result.set_exception(
                NoCredentialError(
                    "it refuses the credential that it is shown",
                    "put a good one where [upstream.credential] says; with lists_as: that user's",
                )
            )
        else:
            self.result.set_result(message)

    def _messages(self, last: bool) -> list[bytes]:
        if not self._events:
            return [bytes(self._body)] if last else []
        whole = self._body.rfind(b"\n") + 1
        lines = bytes(self._body[:whole]).replace(b"\r\n", b"\n").split(b"\n")
        del self._body[:whole]
        return [line.removeprefix(b"data:") for line in lines if line.startswith(b"data:")]


def _no_answer_of_mcp(status: int) -> UpstreamTestError:
    if status in (401, 403):
        return UpstreamTestError(
            f"it wants a credential, or another one (HTTP {status})",
            "give it one: tunnel-client upstream add --help shows --credential",
        )
    return UpstreamTestError(
        f"it answered, but not as an MCP server does (HTTP {status})",
        "check the path in its url (often /mcp), then test again",
    )


async def ask(
    upstream: Upstream, request: UpstreamRequest, answer: Answer, seconds: float
) -> dict[str, Any]:
    """Send a request and return the whole answer; raises UpstreamTestError, also after `seconds`.

    What is still open when this returns is cancelled.
    """
    exchange = upstream.open(request, answer)
    try:
        with anyio.fail_after(seconds):
            return await answer.result
    except TimeoutError:
        raise UpstreamTestError(f"no answer within {seconds:.0f} s") from None
    finally:
        exchange.cancel()


def modern(method: str, session: str, params: dict[str, Any] | None = None) -> UpstreamRequest:
    """Make a request of the modern era (2026-07-28) in the name of `session`."""
    meta = {VERSION_KEY: MODERN, CAPABILITIES_KEY: _ABILITIES, f"{META_PREFIX}clientInfo": _CLIENT}
    headers = [(b"mcp-protocol-version", MODERN.encode()), (b"mcp-method", method.encode())]
    message = {"id": 1, "method": method, "params": {"_meta": meta, **(params or {})}}
    return _post(message, headers, session, None)


def initialize(session: str, mcp_session: str) -> UpstreamRequest:
    """Make the first request of the legacy era; the answer may begin an MCP session."""
    params = {"protocolVersion": LEGACY, "capabilities": _ABILITIES, "clientInfo": _CLIENT}
    return _post({"id": 1, "method": "initialize", "params": params}, [], session, mcp_session)


def legacy(
    message: dict[str, Any], session: str, mcp_session: str | None, version: str
) -> UpstreamRequest:
    """Make a later message of the legacy era: `message` is a request or a notification."""
    headers = [(b"mcp-protocol-version", version.encode())]
    return _post(message, headers, session, mcp_session)


def farewell(session: str, mcp_session: str, version: str) -> UpstreamRequest:
    """Make the request that ends an MCP session."""
    headers = [(b"mcp-protocol-version", version.encode())]
    return UpstreamRequest("DELETE", headers, b"", None, session, mcp_session, own=True)


def _post(
    message: dict[str, Any], headers: Headers, session: str, mcp_session: str | None
) -> UpstreamRequest:
    body = json.dumps({"jsonrpc": "2.0", **message}).encode()
    headers = _COMMON + headers
    return UpstreamRequest("POST", headers, body, parse(body), session, mcp_session, own=True)


def _size(limit: int) -> str:
    return f"{limit // (1024 * 1024)} MiB" if limit >= 1024 * 1024 else f"{limit} bytes"
