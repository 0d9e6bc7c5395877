"""What came of holding a relay's log against those of its clients."""

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

RELAY_ONLY = "only the relay knows"
CLIENT_ONLY = "only the client knows"
NOT_COVERED = "not covered"
IN_GAP = "in a gap"
CLOCKS = "clocks apart"
UNCOMPARED = (NOT_COVERED, IN_GAP)
"""Of these calls one log alone can speak: nobody can say that both agree."""


@dataclass(slots=True)
class Difference:
    """What the logs say differently of one call; `grave`: no two logs that are kept well do."""

    kind: str
    call: str
    log: str
    """The client's log, or `relay` where no client's is known."""
    relay: int | None
    """Number of the relay's record, None: it has none."""
    client: int | None
    said: str
    grave: bool
    time: int
    last: int
    """Time of the last call that it stands for; `time` is that of the first."""
    calls: int = 1
    """How many calls it stands for."""

    def as_dict(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return {name: getattr(self, name) for name in self.__slots__}


@dataclass(slots=True)
class Reconciled:
    """What came of it."""

    relay: int = 0
    """Calls that the relay sent."""
    clients: dict[str, int] = field(default_factory=dict)
    """Calls that each client heard of."""
    matched: int = 0
    """Calls that both ends know and say the same of, as far as they can."""
    grave: int = 0
    kinds: Counter[str] = field(default_factory=Counter)
    findings: list[Difference] = field(default_factory=list)
    """The first thousand."""
    hurried: int = 0
    """Calls decided before the other log had said all: it knows too little of them."""

    @property
    def ok(self) -> bool:
        """Is there nothing grave?"""
        return self.grave == 0

    @property
    def uncompared(self) -> int:
        """How many calls could not be compared, because one log does not cover them."""
        return sum(self.kinds[kind] for kind in UNCOMPARED)

    def as_dict(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return {
            "ok": self.ok,
            "relay": self.relay,
            "clients": self.clients,
            "matched": self.matched,
            "uncompared": self.uncompared,
            "grave": self.grave,
            "kinds": dict(sorted(self.kinds.items())),
            "hurried": self.hurried,
            "findings": [each.as_dict() for each in self.findings],
        }
