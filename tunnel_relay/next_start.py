"""What the next start would make of the configuration: said on SIGHUP, while the old one holds.

What would keep the relay from serving then should be heard before somebody restarts it.
"""

from collections.abc import Mapping
from functools import partial
from pathlib import Path

import anyio
import structlog

from shared.configfile import differing
from shared.rereading import Part
from tunnel_relay.checks import check_beside
from tunnel_relay.errors import RelayError
from tunnel_relay.settings import Settings, read_settings

log = structlog.get_logger("tunnel_relay")


def part_of(running: Settings, path: Path, environ: Mapping[str, str]) -> Part:
    """Return what SIGHUP has read again of the file that `running` came from."""

    async def read() -> str:
        return await anyio.to_thread.run_sync(partial(look, running, path, environ))

    return Part("configuration", read)


def look(running: Settings, path: Path, environ: Mapping[str, str]) -> str:
    """Log what a start would refuse, and which settings it would take up; changes nothing.

    Returns the same in a few words. Reads files.
    """
    keys: list[str] = []
    try:
        found = read_settings(path, environ)
        keys, problems = differing(running, found), check_beside(found, running, environ)
    except RelayError as error:
        problems = [error]
    for each in problems:
        facts = {"code": each.code, "reason": each.message, "next": each.explained.next}
        log.error("configuration_unusable", **facts, holds="the one before")
    if keys:
        log.warning("settings_need_restart", keys=", ".join(keys))
    said = ["configuration refused"] if problems else []
    return ", ".join([*said, *(["settings changed that need a restart"] if keys else [])])
