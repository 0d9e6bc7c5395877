"""Who gives the command that runs now: bound by whoever takes commands in, read by the commands."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from tunnel_relay.store.base import Role

OPERATOR = "operator"
"""Whoever may open the control socket or the state folder: the relay's own system user."""

_ACTOR: ContextVar[tuple[str, frozenset[Role]]] = ContextVar(
    "actor", default=(OPERATOR, frozenset((Role.ADMIN,)))
)


def actor() -> str:
    """Return who acts: a user's key, or `operator`."""
    return _ACTOR.get()[0]


@contextmanager
def acting(user: str, roles: frozenset[Role]) -> Iterator[None]:
    """Let a user be the one who acts."""
    token = _ACTOR.set((user, roles))
    try:
        yield
    finally:
        _ACTOR.reset(token)
