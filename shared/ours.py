"""Whose files a program believes, and whose what it writes becomes.

Those of the user it runs as, and nobody else's. Root's commands look after a service that has a
user of its own (systemd's DynamicUser= makes one): `look_after` has them believe that user's files
too, and leave no file behind that the service could not open.
"""

import os
from pathlib import Path

_service: tuple[int, int] | None = None
"""User and group of the service that is looked after."""


def look_after(folder: Path) -> None:
    """As root, look after the service whose state `folder` is; for commands, never for a service.

    Does nothing for other users, and for a folder that is missing.
    """
    global _service
    _service = None
    if os.geteuid() != 0:
        return
    try:
        facts = folder.stat()
    except OSError:
        return
    if facts.st_uid != 0:
        _service = (facts.st_uid, facts.st_gid)


def owners() -> tuple[int, ...]:
    """Return the users whose files are believed."""
    return (os.geteuid(),) if _service is None else (os.geteuid(), _service[0])


def give(descriptor: int) -> None:
    """Have an open file belong to the service that is looked after; raises OSError."""
    if _service is not None:
        os.fchown(descriptor, *_service)
