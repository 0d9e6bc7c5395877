"""Errors both programs share: whose fault it was, what to send, whether to try again."""

from enum import IntEnum
from typing import ClassVar


class ResetCode(IntEnum):
    """Why a stream ended early; travels in RESET and is never renumbered."""

    CANCELLED = 1
    """The agent went away, or asked to stop."""
    REVOKED = 2
    """The session was revoked or has expired."""
    REFUSED = 3
    """Never sent: the receiver is full, draining or does not serve this upstream."""
    UPSTREAM_UNREACHABLE = 4
    """Never sent: no connection to the upstream could be made."""
    UPSTREAM_BROKE = 5
    """Outcome unknown: the upstream failed after the request was sent to it."""
    TOO_LARGE = 6
    """A body was larger than the receiver takes."""
    STALLED = 7
    """The reader took nothing for too long."""
    FLOW_CONTROL = 8
    """More bytes arrived than credit was given for."""
    PROTOCOL = 9
    """The stream broke a rule of the wire."""
    TIMEOUT = 10
    """Outcome unknown: the upstream did not answer in time."""
    NEEDS_APPROVAL = 11
    """Never sent: the client's policy asks for a human's permission; the detail is JSON."""
    NO_GRANT = 12
    """Never sent: the client knows no living grant of the session, or one for elsewhere."""


NEVER_SENT = frozenset(
    {
        *(ResetCode.REFUSED, ResetCode.UPSTREAM_UNREACHABLE),
        *(ResetCode.NEEDS_APPROVAL, ResetCode.NO_GRANT),
    }
)
"""Codes that promise that the upstream saw nothing, so that a retry is safe."""


class CloseCode(IntEnum):
    """WebSocket close codes of a link (RFC 6455 section 7.4; 44xx are ours)."""

    NORMAL = 1000
    GOING_AWAY = 1001
    PROTOCOL = 1002
    UNSUPPORTED = 1003
    POLICY = 1008
    TOO_BIG = 1009
    INTERNAL = 1011
    REVOKED = 4403
    REPLACED = 4409
    TOO_MANY = 4429


FINAL_CLOSE_CODES = frozenset({CloseCode.REVOKED})
"""Codes after which a client must not dial again by itself."""


class TunnelError(Exception):
    """Base of every error raised on purpose.

    `close_code` is what a link is closed with when the error ends it.
    """

    close_code: ClassVar[CloseCode] = CloseCode.INTERNAL


class PeerError(TunnelError):
    """The peer broke the protocol."""

    close_code = CloseCode.PROTOCOL


class TooBigError(PeerError):
    """The peer sent more than a limit allows."""

    close_code = CloseCode.TOO_BIG


class AuthError(PeerError):
    """The peer could not prove who it is."""

    close_code = CloseCode.POLICY


class NotSpokenError(PeerError):
    """What answers says something else than a relay would: nothing was proven, nor refuted."""


class MisuseError(TunnelError):
    """Our own code called something in a state that does not allow it."""
