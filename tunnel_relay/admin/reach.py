"""Runs a command wherever the state is: in the running relay, or here when none runs."""

import time
from typing import Any

from shared.holder import LOCK_FILE, holder_of
from tunnel_relay.admin.call import CALL_TIMEOUT, call_control
from tunnel_relay.errors import Code, RelayError
from tunnel_relay.settings import Settings

START_PATIENCE = 5.0
"""Seconds for which a relay that holds the state may still be starting or stopping."""
LOOK_SECONDS = 5.0
NOBODY = "nobody answers at its control socket"


def run(settings: Settings, command: str, **arguments: Any) -> Any:
    """Return the command's answer; raises RelayError.

    The lock on the state decides who may write it; so a command never changes the database
    behind the back of a relay that serves from memory.
    """
    give_up = time.monotonic() + START_PATIENCE
    while True:
        try:
            return _ask(settings, command, arguments)
        except (FileNotFoundError, ConnectionRefusedError):
            pass  # nobody listens: no relay runs, or it is just starting
        try:
            return _run_here(settings, command, arguments)
        except RelayError as error:
            if error.code is not Code.STATE_IN_USE:
                raise
            if time.monotonic() > give_up:
                raise silent(settings, NOBODY) from error
        time.sleep(0.05)


def look(settings: Settings) -> Any:
    """Return what the running relay says of itself, None when none runs; raises RelayError."""
    give_up = time.monotonic() + START_PATIENCE
    while True:
        try:
            return _ask(settings, "status", {})
        except (FileNotFoundError, ConnectionRefusedError):
            if holder_of(settings.state_dir / LOCK_FILE) is None:
                return None
        if time.monotonic() > give_up:
            raise silent(settings, NOBODY)
        time.sleep(0.05)


def _ask(settings: Settings, command: str, arguments: dict[str, Any]) -> Any:
    """Ask the running relay; raises as `call_control`, and says who does not answer."""
    # To look changes nothing, so nobody need wait for how it ended.
    seconds = LOOK_SECONDS if command == "status" else CALL_TIMEOUT
    try:
        return call_control(settings.control_socket, command, arguments, seconds)
    except RelayError as error:
        if error.code is not Code.RELAY_SILENT:
            raise
        raise silent(settings, error.message) from error


def silent(settings: Settings, why: str) -> RelayError:
    """Return the refusal that names who holds the state and does not answer."""
    holder = holder_of(settings.state_dir / LOCK_FILE)
    by = "" if holder is None else f"{holder} holds {settings.state_dir}: "
    return RelayError(Code.RELAY_SILENT, f"{by}{why}")


def _run_here(settings: Settings, command: str, arguments: dict[str, Any]) -> Any:
    # SQLAlchemy and alembic take most of a command's time to import; a running relay spares it.
    import asyncio
    import logging
    import sys

    import structlog

    from tunnel_relay.admin.commands import run_command
    from tunnel_relay.admin.runtime import open_admin
    from tunnel_relay.store.base import StoreError

    # Standard output is the command's answer.
    structlog.configure(
        wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING),
        logger_factory=lambda *_: structlog.PrintLogger(sys.stderr),
    )

    async def here() -> Any:
        async with open_admin(settings, serving=False) as admin:
            return await run_command(admin, command, arguments)

    try:
        return asyncio.run(here())
    except StoreError as error:
        raise RelayError(Code.STORE_UNAVAILABLE, str(error)) from error
