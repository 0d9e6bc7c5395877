"""Tells a tail that is not signed yet from one that a writer must have signed by now; pure.

A writer signs every 4,096 records, every ten seconds in which something was written, when a
segment is full, and when it gives the log back. So what no checkpoint vouches for is young, or the
checkpoints could not be written, or they were taken away and the records written anew.

Which of the last two nobody can tell from the log: with a full disk a record can fit where a
checkpoint does not, and a writer that cannot sign stops, but is started again and again. So this is
no fault, and the limits are for what passes by itself: a fault of power takes the checkpoints of
half a minute, for a kernel keeps them so long; a disk that is slow lets a busy relay write some
ten thousand records before it can sign; a copy takes a while. A pause counts for ten seconds
however long it was: a machine that slept, and a disk that was full, signed nothing meanwhile.
"""

from shared.record.model import CHANGED, CLOSED, RecordError, parse

MAX_RECORDS = 16 * 4096
MAX_SECONDS = 120
_PAUSE = 10 * 1_000_000
"""Microseconds of the longest pause that counts: after it a checkpoint would have been made."""


class Unsigned:
    """Looks at the records behind the newest checkpoint, in order; total."""

    def __init__(self) -> None:
        self.why: str | None = None
        """Why they must have been signed by now; None as long as that is not so."""
        self._count = self._written = 0
        self._last: int | None = None
        self._given_back = False

    def see(self, record: bytes) -> None:
        """Take a record that no checkpoint vouches for."""
        if self.why is not None:
            return
        self._count += 1
        try:
            facts = parse(record)
        except RecordError:  # whoever verifies says so
            return
        if self._last is not None:
            self._written += min(max(facts["time"] - self._last, 0), _PAUSE)
        self._last = facts["time"]
        if self._given_back:
            self.why = "whoever gave the log back had signed it, and others wrote on"
        elif self._written > MAX_SECONDS * 1_000_000:
            self.why = f"they were written in more than {MAX_SECONDS} seconds"
        elif self._count > MAX_RECORDS:
            self.why = f"they are more than {MAX_RECORDS}"
        # Last of all it may stand: its writer was killed before it had signed.
        self._given_back = facts["kind"] in (CLOSED, CHANGED)
