"""What the bridge asks of an upstream, HTTP or stdio alike.

An upstream answers as an HTTP server would: one head, then data, then the end; or it fails. All
calls are plain function calls on the event loop's thread: nothing here waits, because a task a
call would cost more than the call itself.
"""

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from shared.errors import ResetCode
from shared.jsonrpc.envelope import Envelope

Headers = list[tuple[bytes, bytes]]
"""Names in lower case; values without CR, LF or NUL."""


def is_event_stream(headers: Headers) -> bool:
    """Tell whether an answer with these headers is an event stream."""
    return any(
        name == b"content-type" and value.lower().startswith(b"text/event-stream")
        for name, value in headers
    )


@dataclass(slots=True)
class UpstreamRequest:
    """One HTTP exchange as the gate let it pass.

    `headers` hold no hop-by-hop header, credential, cookie, Host, Origin or MCP session id.
    `session` is the public id of the relay's session (32 hex digits, no secret). `mcp_session` is
    the relay's own MCP session id: the one the agent sent or, for `initialize`, the one it will
    get if the upstream starts an MCP session.
    """

    method: str
    headers: Headers
    body: bytes
    envelope: Envelope | None
    session: str
    mcp_session: str | None
    user: str | None = None
    """Whose session it is, from its grant: one name for one human at this relay; None: unknown."""
    own: bool = False
    """The client asks by itself, for no agent: to see what there is."""


class Reply(Protocol):
    """Where an upstream's answer goes; after the end or a failure every call is ignored."""

    def head(self, status: int, headers: Headers, end: bool = False) -> None:
        """Answer with a status and headers; `end` says that no body follows.

        A body that comes whole and at once need not have its length among the headers.
        """

    def data(self, chunk: bytes, end: bool = False) -> bool:
        """Pass body bytes on; False asks to pause until `Exchange.resume`."""

    def fail(self, code: ResetCode, detail: str) -> None:
        """End without an answer, or in the middle of one; `detail` is for operators, no secrets."""


@runtime_checkable
class HearsOfSecrets(Protocol):
    """A Reply that wants to know how often a secret was taken out of what it is given."""

    def scrubbed(self, count: int) -> None:
        """Note so many hits."""


@runtime_checkable
class HearsOfNoCredential(Protocol):
    """A Reply of the client's own, which wants to know why there was nothing to ask with."""

    def no_credential(self, why: str, next_command: str | None) -> None:
        """Note it, for operators; the same answer as agents get comes after it."""


class Exchange(Protocol):
    """One exchange in progress at an upstream."""

    def resume(self) -> None:
        """The reply takes data again."""

    def cancel(self) -> None:
        """Nobody waits for the answer any more: stop the upstream's work; `Reply` stays silent."""


class Upstream(Protocol):
    """A configured private MCP server."""

    name: str

    async def start(self) -> None:
        """Get ready to serve; an upstream that is down is not an error."""

    def open(self, request: UpstreamRequest, reply: Reply) -> Exchange:
        """Begin one exchange; every outcome, failure included, goes to `reply`."""

    def end_session(self, session: str) -> None:
        """Forget the MCP sessions below a session and end what they hold."""

    def lapse(self) -> int:
        """End what runs for agents though no link is left; returns how many MCP sessions ended."""

    async def aclose(self) -> None:
        """Cancel what runs and leave no process or connection behind."""
