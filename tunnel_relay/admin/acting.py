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


SEE_ALL = frozenset((Role.ADMIN, Role.AUDITOR))
"""The roles that see what belongs to others."""


def actor() -> str:
    """Return who acts: a user's key, or `operator`."""
    return _ACTOR.get()[0]


def acts_as_admin() -> bool:
    """Tell whether the one who acts may do everything."""
    return Role.ADMIN in _ACTOR.get()[1]


def holds(role: Role) -> bool:
    """Tell whether the one who acts has this very role; an admin has no other by being one."""
    return role in _ACTOR.get()[1]


def confined_to() -> str | None:
    """Return the user beyond whose own sessions the one who acts sees nothing; None: sees all."""
    user, roles = _ACTOR.get()
    return None if roles & SEE_ALL else user


@contextmanager
def acting(user: str, roles: frozenset[Role]) -> Iterator[None]:
    """Let a user be the one who acts."""
    token = _ACTOR.set((user, roles))
    try:
        yield
    finally:
        _ACTOR.reset(token)
