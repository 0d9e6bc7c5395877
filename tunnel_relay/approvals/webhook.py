"""Announces requests for approval to a URL of the operator's; nothing ever waits for it.

https and the default rules of TLS, one look-up, a connection to just that address, no redirect, few
bytes, little time. A host inside is refused unless the configuration names it (R08).
"""

import asyncio
import heapq
import hmac
import itertools
import json
import random
import ssl
import time
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

import anyio
import anyio.to_thread
import httptools
import structlog
from pydantic import SecretStr

from shared.backoff import Backoff
from tunnel_relay.errors import Code
from tunnel_relay.identity.documents import DocumentError, connect, resolve
from tunnel_relay.identity.fetching import load_trust
from tunnel_relay.settings_approvals import ApprovalSettings
from tunnel_relay.store.approvals import Approval, Texts

SIGNATURE = "Mcp-Tunnel-Signature"
MAX_WAITING = 200
"""Announcements that wait; one more is dropped, and said so."""
TRIES = 6
PACE = Backoff(base=1.0, cap=60.0)
DEADLINE = 5.0
MAX_ANSWER = 16 * 1024
AGAIN = frozenset((408, 425, 429))
"""Statuses below 500 after which it is worth another try."""

log = structlog.get_logger("tunnel_relay.approvals")


class Webhook:
    """Sends announcements one after the other; one that failed comes back later."""

    def __init__(
        self,
        settings: ApprovalSettings,
        secret: SecretStr,
        console: str | None,
        *,
        pace: Backoff = PACE,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._settings = settings
        self._url = settings.webhook or ""
        self._secret = secret
        self._console = console
        self._pace = pace
        self._clock = clock
        self._trust: ssl.SSLContext | None = None
        self._waiting: list[tuple[float, int, int, str, float, bytes]] = []
        self._numbers = itertools.count()
        self._news = anyio.Event()

    def announce(self, approval: Approval, texts: Texts) -> None:
        """Let a new request be announced; returns at once."""
        if len(self._waiting) >= MAX_WAITING:
            log.error(
                "webhook_failed",
                code=Code.WEBHOOK_FAILED,
                approval=approval.id[:12],
                why="too many announcements wait",
            )
            return
        body = json.dumps(self._body(approval, texts), separators=(",", ":")).encode()
        self._push(0.0, 1, approval.id, approval.expires, body)

    async def run(self) -> None:
        """Send what is announced, until cancelled."""
        while True:
            while self._waiting and self._waiting[0][0] <= self._clock():
                _, _, attempt, which, expires, body = heapq.heappop(self._waiting)
                await self._deliver(attempt, which, expires, body)
            self._news = anyio.Event()
            due = self._waiting[0][0] - self._clock() if self._waiting else None
            with anyio.move_on_after(due):
                await self._news.wait()

    async def _deliver(self, attempt: int, which: str, expires: float, body: bytes) -> None:
        problem, again = await self._send(which, body)
        if problem is None:
            log.info("webhook_sent", approval=which[:12])
            return
        due = self._clock() + self._pace.delay(attempt, 0.5 + random.random() / 2)  # noqa: S311
        if again and attempt < TRIES and due < expires:
            self._push(due, attempt + 1, which, expires, body)
            return
        failed = {"approval": which[:12], "attempts": attempt, "why": problem}
        log.error("webhook_failed", code=Code.WEBHOOK_FAILED, **failed)

    async def _send(self, which: str, body: bytes) -> tuple[str | None, bool]:
        """Send once; returns what went wrong, and whether it is worth another try."""
        try:
            with anyio.fail_after(DEADLINE):
                status = await self._post(which, body)
        except DocumentError as error:
            return error.reason, True
        except (TimeoutError, OSError, httptools.HttpParserError) as error:
            return type(error).__name__, True
        if 200 <= status < 300:
            return None, False
        if not status:
            return "no answer", True
        return f"status {status}", status >= 500 or status in AGAIN

    async def _post(self, which: str, body: bytes) -> int:
        if self._trust is None:
            ca_file = self._settings.webhook_ca_file
            self._trust = await anyio.to_thread.run_sync(load_trust, ca_file)
        url = urlsplit(self._url)
        host = url.hostname or ""
        may_be_private = host in self._settings.webhook_hosts
        addresses = await resolve(host, url.port or 443, may_be_private)
        reader, writer = await connect(addresses, host, self._trust)
        try:
            writer.write(self._head(url.netloc, which, body) + body)
            await writer.drain()
            return await _status(reader)
        finally:
            writer.close()

    def _head(self, authority: str, which: str, body: bytes) -> bytes:
        url = urlsplit(self._url)
        target = (url.path or "/") + (f"?{url.query}" if url.query else "")
        at = int(self._clock())
        lines = (
            f"POST {target} HTTP/1.1",
            f"Host: {authority}",
            "Content-Type: application/json",
            f"Content-Length: {len(body)}",
            f"Mcp-Tunnel-Delivery: {which}",
            f"{SIGNATURE}: t={at},v1={sign(self._secret, at, body)}",
            "Connection: close",
        )
        return ("\r\n".join(lines) + "\r\n\r\n").encode()

    def _body(self, approval: Approval, texts: Texts) -> dict[str, Any]:
        said: dict[str, Any] = {
            "type": "approval.asked",
            "id": approval.id,
            "user": approval.user,
            "agent": approval.agent,
            "server": f"{approval.tunnel}/{approval.upstream}",
            "tool": approval.tool,
            "class": approval.tool_class,
            "rule": approval.rule,
            "groups": list(approval.groups),
            "users": list(approval.users),
            "count": approval.count,
            "created": int(approval.created),
            "expires": int(approval.expires),
            "url": None if self._console is None else f"{self._console}/approvals/{approval.id}",
        }
        if self._settings.webhook_arguments:
            said["arguments"] = texts.arguments
        return said

    def _push(self, due: float, attempt: int, which: str, expires: float, body: bytes) -> None:
        entry = (due, next(self._numbers), attempt, which, expires, body)
        heapq.heappush(self._waiting, entry)
        self._news.set()


def sign(secret: SecretStr, at: int, body: bytes) -> str:
    """Return the HMAC-SHA256 over `AT.BODY` in hex, by which a receiver knows who sent it."""
    message = b"%d." % at + body
    return hmac.new(secret.get_secret_value().encode(), message, "sha256").hexdigest()


async def _status(reader: asyncio.StreamReader) -> int:
    """Return the status of the answer; its body is not read."""
    parser = httptools.HttpResponseParser(_Nothing())
    taken = 0
    while data := await reader.read(4096):
        taken += len(data)
        parser.feed_data(data)
        if parser.get_status_code() or taken > MAX_ANSWER:
            break
    return int(parser.get_status_code())


class _Nothing:
    """Takes no part of the answer."""
