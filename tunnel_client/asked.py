"""What an upstream asks of an agent, judged in the upstream's answers: row L17.

A legacy server sends requests of its own (`sampling/createMessage`, `elicitation/create`,
`roots/list`) in event streams, and in its errors leads users to pages. A modern one hands requests
out in the place of a result, to be answered with the next call. What policy does not allow is
never delivered: the server's own request is answered with an error here, on its MCP session.
"""

import json
import secrets
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import structlog

from shared.errors import ResetCode
from shared.jsonrpc.envelope import METHOD_NOT_FOUND, Envelope, EnvelopeError, error_body, parse
from shared.jsonrpc.headers import VERSION_HEADER
from shared.jsonrpc.needles import holds_name
from shared.jsonrpc.results import DROP, Document, EditError, Editor
from shared.policy import answers
from shared.policy.actions import LISTS
from shared.policy.methods import TOOL
from shared.wire.codec import OpenHead
from shared.wire.limits import MIB
from tunnel_client.upstream.base import Exchange, Headers, Upstream, UpstreamRequest

log = structlog.get_logger("tunnel_client.asked")

Forbids = Callable[[str, Any], bool]
"""Tells whether a method with these `params` may not be asked of the agent."""
Edit = Callable[[Document], Document | None]

NEEDLES = (b'"method"', b'"elicitations"')
"""One of them, in some spelling, is in every message that asks for something."""
LISTING = (*(b'"%b"' % one.member.lower().encode() for one in LISTS.values()), b'"instructions"')
"""With those above, one of them is in every message that lists something."""
READ = (*NEEDLES, *LISTING)
"""Nothing has to be done about what holds none of these."""
MAX_HELD_BYTES = 128 * MIB
"""Bytes of answers of one link that are held until their messages are whole and judged."""
MAX_REFUSED = 32
"""Requests refused in one answer; a server that goes on loses the exchange."""
MAX_ANSWERING = 64
"""Refusals under way to upstreams; a further one is not sent, so that its server waits in vain."""
MAX_UNREAD = 64 * 1024
ELICIT = "elicitation/create"
DENIED = "denied by policy"


class Asked:
    """Judges what one answer asks of the agent.

    `call` is the request that is answered, None for a stream. `refuse` tells the upstream that its
    request of this id is denied.
    """

    def __init__(
        self, forbids: Forbids, call: Envelope | None, facts: dict[str, str], refuse: "Refuse"
    ) -> None:
        self._forbids = forbids
        self._method = None if call is None else call.method
        self._facts = facts
        self._refuse = refuse
        self._left = MAX_REFUSED

    def edit(self, document: Document) -> Document | None:
        """Return what goes on in a message's place: None for itself, DROP for nothing."""
        changed = self._request(document) if "method" in document else None
        if changed is not None:
            return changed
        for method, params in _asks(document):
            if self._forbids(method, _plain(params)):
                return self._denied(document, method)
        return None

    def _request(self, document: Document) -> Document | None:
        """Judge a request or notification."""
        method, message_id = document["method"], document.get("id")
        if type(method) is not str or method.startswith("notifications/"):
            return None
        if not self._forbids(method, _plain(document.get("params"))):
            return None
        self._count(method)
        if type(message_id) is str or type(message_id) is int:
            self._refuse(message_id)
        return DROP

    def _denied(self, document: Document, method: str) -> Document:
        request = self._count(method)
        message_id = document.get("id")
        if self._method == TOOL:
            return _read(answers.denied(None, request), message_id)
        # Unlike a call that was refused before it was sent, this one has reached the upstream.
        data = {"origin": "relay", "delivery": "unknown", "request": request}
        body = error_body(None, answers.DENIED, f"{DENIED} (request {request})", data)
        return _read(body, message_id)

    def _count(self, method: str) -> str:
        """Say in the log what was asked; raises EditError when there is no end to it."""
        request = secrets.token_hex(8)
        self._left -= 1
        if self._left < 0:
            raise EditError("the upstream asks the agent for too much that is denied")
        log.warning("denied_to_upstream", asked=ascii(method)[:64], request=request, **self._facts)
        return request


Refuse = Callable[[str | int], None]


def _asks(document: Document) -> Iterator[tuple[str, Any]]:
    """Yield method and params of whatever a response asks of the agent."""
    result, error = document.get("result"), document.get("error")
    found = result.get("inputRequests") if isinstance(result, dict) else None
    for one in found.values() if isinstance(found, dict) else ():
        if isinstance(one, dict) and isinstance(one.get("method"), str):
            yield one["method"], one.get("params")
    data = error.get("data") if isinstance(error, dict) else None
    pages = data.get("elicitations") if isinstance(data, dict) else None
    for one in pages if isinstance(pages, list) else ():
        yield ELICIT, one


def _plain(params: Any) -> Any:
    """Return `params` with numbers as conditions know them; an answer is read exactly."""
    return json.loads(json.dumps(params, default=float))


def _read(body: bytes, message_id: Any) -> Document:
    """Return an answer of our own under the id that the upstream wrote, whatever that is."""
    return {**json.loads(body), "id": message_id}


def passes_unread(data: bytes) -> bool:
    """Tell whether a whole body neither asks for nor lists anything: then no reader is made."""
    return not holds_name(READ, data)


def reader(
    edit: Edit, asked: Asked | None, *, events: bool, needles: Sequence[bytes] = ()
) -> Editor:
    """Return what an answer has to pass through; with `needles`, only messages that hold one."""
    if asked is None:
        return Editor(edit, event_stream=events, needles=needles)

    def both(document: Document) -> Document | None:
        changed = asked.edit(document)
        if changed is not None:
            return changed
        return edit(document) if "result" in document or "error" in document else None

    return Editor(both, event_stream=events, needles=needles, requests=True)


class Refusals:
    """Sends refusals to upstreams and reads no word of what they say to it."""

    def __init__(self) -> None:
        self._answering = 0

    def send(
        self, upstream: Upstream, head: OpenHead, user: str | None, message_id: str | int
    ) -> None:
        """Answer a request that an upstream sent in an exchange of a user's with this head."""
        body = error_body(message_id, METHOD_NOT_FOUND, DENIED)
        try:
            envelope = parse(body)
        except EnvelopeError:
            return  # no id that anybody could answer to
        if self._answering >= MAX_ANSWERING:
            log.warning("refusal_not_sent", upstream=upstream.name)
            return
        headers = [pair for pair in head.headers if pair[0] == VERSION_HEADER]
        headers += [
            (b"content-type", b"application/json"),
            (b"accept", b"application/json, text/event-stream"),
        ]
        mcp_session = head.mcp_session or None
        request = UpstreamRequest("POST", headers, body, envelope, head.session, mcp_session, user)
        self._answering += 1
        unread = _Unread(self)
        exchange = upstream.open(request, unread)
        if not unread.over:
            unread.exchange = exchange

    def settled(self) -> None:
        """One is over."""
        self._answering -= 1


class _Unread:
    """A reply to nobody: little of it is taken."""

    def __init__(self, refusals: Refusals) -> None:
        self._refusals = refusals
        self._size = 0
        self.over = False
        self.exchange: Exchange | None = None

    def head(self, status: int, headers: Headers, end: bool = False) -> None:
        if end:
            self._settle()

    def data(self, chunk: bytes, end: bool = False) -> bool:
        self._size += len(chunk)
        exchange = self.exchange
        if end or self._size > MAX_UNREAD:
            self._settle()
            if not end and exchange is not None:
                exchange.cancel()
        return True

    def fail(self, code: ResetCode, detail: str) -> None:
        self._settle()

    def _settle(self) -> None:
        self.exchange = None
        if not self.over:
            self.over = True
            self._refusals.settled()
