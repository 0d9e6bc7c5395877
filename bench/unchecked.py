"""A relay that looks at a session once and never again: `python -m bench.unchecked serve ...`.

What the checks of sessions and limits cost a call is what this one saves. It is no relay to use: a
revoked session goes on. Everything else is the relay as it ships.
"""

from tunnel_relay.cli import main
from tunnel_relay.quotas import Quotas
from tunnel_relay.sessions import SessionTable
from tunnel_relay.store.base import Session


def once(table: SessionTable, session: Session, now: float, ends: float = 0.0) -> Session:
    """Stand for `SessionTable.again`: it was good when its head was first seen."""
    return session


def alive(table: SessionTable, session: str, now: float) -> None:
    """Stand for `SessionTable.state`, which is asked once more before a call goes on its way."""


def free(quotas: Quotas, session: Session, now: float) -> float:
    """Stand for `Quotas.take`."""
    return 0.0


def begun(quotas: Quotas, session: Session, now: float) -> bool:
    """Stand for `Quotas.begin`."""
    return True


def over(quotas: Quotas, session: Session) -> None:
    """Stand for `Quotas.end`."""


REMEMBERED = (
    (SessionTable, "again", once),
    (SessionTable, "state", alive),
    (Quotas, "take", free),
    (Quotas, "begin", begun),
    (Quotas, "end", over),
)

if __name__ == "__main__":
    for owner, name, stands_in in REMEMBERED:
        setattr(owner, name, stands_in)
    main()
