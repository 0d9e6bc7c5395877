"""What the next start would make of the configuration: said on SIGHUP, while the old one holds.

What would keep the client from serving then should be heard before somebody restarts it.
"""

from collections.abc import Mapping
from functools import partial
from pathlib import Path

import anyio
import structlog

from shared.configfile import differing
from shared.rereading import Part
from tunnel_client.checks import check_files
from tunnel_client.errors import ClientError
from tunnel_client.settings import ClientSettings, load_settings

log = structlog.get_logger("tunnel_client")


def part_of(running: ClientSettings, environ: Mapping[str, str]) -> Part:
    """Return what SIGHUP has read again of the file that `running` came from."""

    async def read() -> str:
        if running.file is None:
            return ""
        return await anyio.to_thread.run_sync(partial(look, running, running.file, environ))

    return Part("configuration", read)


def look(running: ClientSettings, path: Path, environ: Mapping[str, str]) -> str:
    """Log what a start would refuse, and which settings it would take up; changes nothing.

    Returns the same in a few words. Reads files; connects nowhere and starts no upstream.
    """
    keys: list[str] = []
    try:
        found = load_settings(path, environ)
        # A policy that is the running one's was just read, and what is wrong with it was said.
        read = found.policy == running.policy
        keys, problems = differing(running, found), check_files(found, environ, policy=not read)
    except ClientError as error:
        problems = [error]
    for each in problems:
        log.error("the configuration cannot be used; the one before holds", why=str(each))
    if keys:
        log.warning("settings changed that need a restart", keys=", ".join(keys))
    said = ["configuration refused"] if problems else []
    return ", ".join([*said, *(["settings changed that need a restart"] if keys else [])])
