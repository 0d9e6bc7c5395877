"""Says of a program that ended by itself how it did, and what it said last, for its operator."""

import signal
from collections.abc import Sequence

_BY_SIGNAL = 128
"""What a shell, and bubblewrap, adds to the number of the signal that killed what it ran."""
_KNOWN = {
    0: "its program ended by itself (status 0)",
    126: "its program could not be started in its sandbox (status 126)",
    127: "its program did not find something that it starts (status 127)",
}


def in_words(status: int, said: Sequence[str]) -> str:
    """Return it in one line; `said` are the lines of its stderr that may be shown."""
    told = _KNOWN.get(status) or _ended(status)
    return f"{told}; it said last: {' | '.join(said)}" if said else told


def _ended(status: int) -> str:
    if status < 0:
        return f"its program was killed by {_signal(-status) or f'signal {-status}'}"
    by = _signal(status - _BY_SIGNAL)
    return (
        f"its program was killed by {by} (status {status})"
        if by
        else f"its program ended with status {status}"
    )


def _signal(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return ""
