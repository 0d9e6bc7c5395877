"""What to think of a connection that says nothing while calls want it: at both ends, and pure."""

QUIET_SECONDS = 1.0
"""A peer that calls run at and that says nothing for so long is asked whether it is there."""
MOST_EARLY = 4
"""PINGs before their time in one interval: a peer that gets more than ten gives the link up."""
DOUBTED_SECONDS = 1.0
"""So long beyond its usual round trip an answer may take before calls had better go elsewhere."""


def asks_in(silent: float, asked: float, interval: float) -> float:
    """Return in how many seconds to send a PING before its time, if nothing is heard; 0: now.

    `silent` and `asked` are for how long nothing was heard, and ago the last PING was sent. That no
    call is answered says nothing: an upstream may take its time. A PING takes none.
    """
    return max(QUIET_SECONDS - silent, interval / MOST_EARLY - asked, 0.0)


def is_doubted(owed: float, round_trip: float) -> bool:
    """Tell whether the peer has owed an answer for so long that the connection may be dead."""
    return owed >= DOUBTED_SECONDS + round_trip
