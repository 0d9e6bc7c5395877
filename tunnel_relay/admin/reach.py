"""Runs a command wherever the state is: in the running relay, or here when none runs."""

import time
from typing import Any

from tunnel_relay.admin.call import call_control
from tunnel_relay.errors import Code, RelayError
from tunnel_relay.settings import Settings

START_PATIENCE = 5.0
"""Seconds for which a relay that holds the state may still be starting or stopping."""


def run(settings: Settings, command: str, **arguments: Any) -> Any:
    """Return the command's answer; raises RelayError.

    The lock on the state decides who may write it; so a command never changes the database
    behind the back of a relay that serves from memory.
    """
    give_up = time.monotonic() + START_PATIENCE
    while True:
        try:
            return call_control(settings.control_socket, command, arguments)
        except (FileNotFoundError, ConnectionRefusedError):
            pass  # nobody listens: no relay runs, or it is just starting
        try:
            return _run_here(settings, command, arguments)
        except RelayError as error:
            if error.code is not Code.STATE_IN_USE:
                raise
            if time.monotonic() > give_up:
                message = f"{settings.state_dir} is held, but nobody answers"
                raise RelayError(Code.RELAY_SILENT, message) from error
        time.sleep(0.05)


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
