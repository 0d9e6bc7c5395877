"""What the mux reports to the driver: one small value per thing that happened."""

from dataclasses import dataclass

from shared.errors import ResetCode
from shared.wire.tools import ToolWord


@dataclass(slots=True)
class Opened:
    """The relay opened a stream; `head` is what `codec.decode_open` reads."""

    stream: int
    head: bytes
    end: bool


@dataclass(slots=True)
class Headed:
    """The response head came; `head` is what `codec.decode_head` reads."""

    stream: int
    head: bytes
    end: bool


@dataclass(slots=True)
class Requested:
    """The relay opened a stream with a whole small request."""

    stream: int
    head: bytes
    body: bytes


@dataclass(slots=True)
class Responded:
    """A whole small response came; the stream is over. Its bytes need no credit."""

    stream: int
    head: bytes
    body: bytes


@dataclass(slots=True)
class Received:
    """Body bytes came, not empty unless `end`; report them to `Mux.consumed` once used."""

    stream: int
    data: bytes
    end: bool


@dataclass(slots=True)
class WasReset:
    """The stream ended early, by the peer or because the peer broke a rule of it."""

    stream: int
    code: ResetCode
    detail: str


@dataclass(slots=True)
class Late:
    """An answer, or its beginning, came for a stream that was cut for `whose`: it was dropped."""

    whose: str
    answer: bytes


@dataclass(slots=True)
class Ponged:
    """The peer answered our PING with these 8 bytes."""

    payload: bytes


@dataclass(slots=True)
class Draining:
    """The relay asks to move to another link; no new streams come on this one."""

    detail: str


@dataclass(slots=True)
class Catalogued:
    """The client serves these upstreams."""

    upstreams: list[str]


@dataclass(slots=True)
class RevokeAsked:
    """The relay cuts a session: end its streams and what they hold, then answer `order`."""

    order: int
    session: str


@dataclass(slots=True)
class RevokeDone:
    """The client carried out `order` and ended this many exchanges."""

    order: int
    ended: int


@dataclass(slots=True)
class Granted:
    """The relay says what a session is; `grant` is what `shared.grant.decode` reads."""

    grant: bytes


@dataclass(slots=True)
class ToolsTold:
    """The client said all of the tools of an upstream; replaces what it said before."""

    upstream: str
    tools: list[ToolWord]


Event = (
    Opened
    | Headed
    | Requested
    | Responded
    | Received
    | WasReset
    | Late
    | Ponged
    | Draining
    | Catalogued
    | RevokeAsked
    | RevokeDone
    | Granted
    | ToolsTold
)
