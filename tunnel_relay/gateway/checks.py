"""What a request must be before its body is read. Pure: a head in, an answer or None out."""

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from shared.audit.claims import trace_header, user_agent
from shared.ids import SESSION_PREFIX, is_token
from shared.jsonrpc.headers import read_routing
from shared.jsonrpc.media import is_json
from shared.jsonrpc.reserved import headers_fault
from shared.repeated import RepeatedHead
from tunnel_relay.gateway import answers
from tunnel_relay.gateway.answers import Answer
from tunnel_relay.identity.signed import MAX_TOKEN
from tunnel_relay.store.base import Session

if TYPE_CHECKING:
    from tunnel_relay.identity.issuers import Accepted, Waits

PATH = re.compile(rb"/t/([a-z0-9-]{1,63}/[a-z0-9-]{1,63})/mcp")
HOT = b"/t/"
PAGES = frozenset((b"/healthz", b"/readyz"))
AGENT_PAGE = re.compile(rb"/(?:oauth|\.well-known)/[a-z0-9/_.-]*")
"""Where agents and their users log in; spelled in any other way it is not known as that."""
METHODS = frozenset((b"POST", b"GET", b"DELETE"))

_SINGLE = frozenset(
    {
        *(b"host", b"authorization", b"origin", b"content-type"),
        *(b"content-encoding", b"mcp-session-id", b"connection", b"accept", b"expect"),
        *(b"upgrade", b"mcp-protocol-version", b"transfer-encoding"),
    }
)
"""Fields two readers could take two values from if they came twice."""


@dataclass(frozen=True, slots=True)
class Edge:
    """What the gateway is configured to accept. Hosts and origins are in lower case."""

    hosts: frozenset[bytes]
    origins: frozenset[bytes]
    header_bytes: int
    header_fields: int
    body_bytes: int


NO_SESSION = Session("", b"", "", "", "", "", 0.0, 0.0, 0.0, 0.0)
"""Stands where no session was found yet; it has expired."""


class Request:
    """One request as it came: names in lower case, values without white space around them.

    `length` is the announced length of the body; it is kept out of `headers`, so that an agent's
    requests have equal ones.
    """

    __slots__ = (
        *("body", "complete", "fields", "head_bytes", "headers", "known", "length", "method"),
        *("opening", "paid", "payer", "peer", "session", "url"),
    )

    def __init__(self, peer: str = "") -> None:
        self.peer = peer
        self.method = b""
        self.url = b""
        self.headers: list[tuple[bytes, bytes]] = []
        self.length: bytes | None = None
        self.head_bytes = 0
        self.complete = False
        self.body = b""
        self.fields: dict[bytes, bytes] = {}
        self.session: Session = NO_SESSION
        self.known: Known | None = None
        self.opening: Waits | None = None
        """What a token of an external issuer has to wait for before it is served."""
        self.payer: tuple[str, str] | None = None
        self.paid = 0
        """See `tunnel_relay.gateway.bodies`: bytes, and the session and user they count for."""

    @property
    def agent(self) -> str | None:
        """What the program that sent it says it is; see `shared.audit.claims`."""
        known = self.known
        return user_agent(self.headers) if known is None else known.agent

    @property
    def trace(self) -> str | None:
        """What its head says of a trace; see `shared.audit.claims`."""
        known = self.known
        return trace_header(self.headers) if known is None else known.trace

    def forget(self) -> None:
        """Keep only what the answer needs: idle streams live long."""
        self.body = b""
        self.headers = []
        self.known = None
        origin = self.fields.get(b"origin")
        self.fields = {} if origin is None else {b"origin": origin}

    @property
    def path(self) -> bytes:
        """The request target without its query."""
        return self.url.partition(b"?")[0]

    @property
    def hot(self) -> bool:
        """Is it for the MCP endpoint?"""
        return self.url.startswith(HOT)

    @property
    def for_links(self) -> bool:
        """May it be for clients: a link, or an enrolment?

        A path can be spelled in many ways (absolute form, escapes), so what is not known to be
        something else counts.
        """
        return not self.hot and self.path not in PAGES and not self.for_agents

    @property
    def for_agents(self) -> bool:
        """Is it a page of the authorization server, or metadata?"""
        return AGENT_PAGE.fullmatch(self.path) is not None

    def allowed(self, agents: bool, links: bool) -> bool:
        """Tell whether a listener for agents, for links or for both takes this."""
        if self.hot or self.for_agents:
            return agents
        return links or not self.for_links

    @property
    def upgrade(self) -> bytes | None:
        """What the agent wants to upgrade to, in lower case."""
        wanted = [value.lower() for name, value in self.headers if name == b"upgrade"]
        return wanted[0] if len(wanted) == 1 else None

    @property
    def expects_continue(self) -> bool:
        """Does the agent wait for our word before it sends the body?"""
        return any(name == b"expect" for name, _ in self.headers)


class Known:
    """A head that passed every check, kept by its connection.

    An agent's requests mostly differ in nothing but their bodies. The same bytes in the head get
    the same verdict; what can change meanwhile, the life of the session, is looked at each time.
    """

    __slots__ = (
        *("accepted", "agent", "fields", "headers", "mcp_session", "method", "open_head"),
        *("repeated", "routing", "session", "token_ends", "trace", "url"),
    )

    def __init__(self, request: Request) -> None:
        self.token_ends = 0.0
        self.accepted: Accepted | None = None
        self.agent = user_agent(request.headers)
        self.trace = trace_header(request.headers)
        self.method = request.method
        self.url = request.url
        self.headers = request.headers
        self.fields = request.fields
        self.session = request.session
        self.mcp_session = ""
        self.open_head: bytes | None = None
        """The payload for the link, for requests of this `mcp_session`."""
        self.routing = read_routing(request.headers)
        self.repeated: RepeatedHead | None = None

    def request(self, body: bytes) -> Request:
        """Make the request that has this head and another body."""
        request = Request()
        request.method, request.url, request.headers = self.method, self.url, self.headers
        request.length = b"%d" % len(body)
        request.complete = True
        request.body = body
        return request

    def matches(self, request: Request) -> bool:
        """Tell whether a request has the very same head."""
        return (
            self.url == request.url
            and self.headers == request.headers
            and self.method == request.method
        )


def read_fields(request: Request, edge: Edge) -> Answer | None:
    """Pick out the single-valued fields; an Answer when one repeats or the head is too big."""
    found = request.fields
    single = _SINGLE
    for name, value in request.headers:
        if name in single:
            if name in found:
                return _repeated(name)
            found[name] = value
    if len(request.headers) > edge.header_fields or _too_large(request, edge.header_bytes):
        return answers.HEADERS_TOO_LARGE
    fault = headers_fault(request.headers)
    return None if fault is None else answers.bad_trace(fault)


def _too_large(request: Request, limit: int) -> bool:
    # What was read so far may hold some of the body too, but bounds the sum, which is therefore
    # seldom needed.
    if request.head_bytes <= limit:
        return False
    return sum(len(name) + len(value) + 4 for name, value in request.headers) > limit


def _repeated(name: bytes) -> Answer:
    if name == b"authorization":
        return answers.TWO_TOKENS
    return answers.BAD_HOST if name == b"host" else answers.BAD_REQUEST


def refuse_place(fields: dict[bytes, bytes], edge: Edge) -> Answer | None:
    """Check Host and Origin: what a browser on a foreign page cannot forge."""
    host = fields.get(b"host")
    if host is None or (host not in edge.hosts and host.lower() not in edge.hosts):
        return answers.BAD_HOST
    origin = fields.get(b"origin")
    if origin is not None and origin.lower() not in edge.origins:
        return answers.BAD_ORIGIN
    return None


def read_token(value: bytes) -> str | None:
    """Return the bearer token of an Authorization value, None unless it looks like one of ours."""
    scheme, _, rest = value.partition(b" ")
    if scheme.lower() != b"bearer":
        return None
    token = rest.strip().decode("latin-1")
    return token if token.startswith(SESSION_PREFIX) and is_token(token) else None


def read_bearer(value: bytes) -> str | None:
    """Return the bearer token of an Authorization value when it may be one of an issuer."""
    scheme, _, rest = value.partition(b" ")
    if scheme.lower() != b"bearer":
        return None
    token = rest.strip()
    likely = token.startswith(b"eyJ") and len(token) <= MAX_TOKEN and token.count(b".") == 2
    return token.decode("latin-1") if likely else None


def refuse_body(request: Request, edge: Edge) -> Answer | None:
    """Check what the head says about the body."""
    fields = request.fields
    if request.method != b"POST":
        if b"transfer-encoding" in fields:
            return answers.BODY_NOT_ALLOWED
        return refuse_length(request, edge)
    # A server that decodes by another charset than UTF-8 reads another message than we judge.
    if not is_json(fields.get(b"content-type", b"")):
        return answers.NOT_JSON
    if fields.get(b"content-encoding", b"identity").lower() != b"identity":
        return answers.NOT_JSON
    return refuse_length(request, edge)


def refuse_length(request: Request, edge: Edge) -> Answer | None:
    """Check the announced length of the body, which differs from request to request."""
    length = request.length
    if length is None:
        return None
    if request.method != b"POST":
        return None if length == b"0" else answers.BODY_NOT_ALLOWED
    if not length.isdigit() or len(length) > 12:
        return answers.BAD_REQUEST
    return answers.BODY_TOO_LARGE if int(length) > edge.body_bytes else None
