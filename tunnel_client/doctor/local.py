"""What can be checked on this machine: configuration, identity, policy, the log."""

import os
from pathlib import Path

from shared.checkup import SkippedError
from shared.keys import key_fingerprint
from tunnel_client.dial import choose_proxy, tls_context
from tunnel_client.doctor.errors import AuditBrokenError
from tunnel_client.doctor.scene import Scene
from tunnel_client.errors import UnsafeFileError
from tunnel_client.files import check_folder
from tunnel_client.identity import Identity
from tunnel_client.policy.load import load_policy
from tunnel_client.settings import dial_targets

MIN_FREE = 16 * 1024 * 1024
"""Bytes on the disk of the log below which it is about to fail."""


async def config(scene: Scene) -> str:
    """Can the way to the relay be read from the configuration?"""
    settings = scene.settings
    scene.targets = dial_targets(settings.relay, scene.environ)
    for target in scene.targets:
        if target.relay.secure:
            tls_context(settings.relay.ca_file)
        choose_proxy(target)
    return f"tunnel {settings.relay.tunnel} at {', '.join(settings.relay.url)}"


async def identity(scene: Scene) -> str:
    """Is this machine enrolled, and are its files nobody else's?"""
    found = scene.identity = Identity.read(scene.settings.state_dir)
    return f"instance {found.instance[:12]}, key {key_fingerprint(found.key.public)}"


async def daemon(scene: Scene) -> str:
    """Say whether a daemon runs here: then the link is its own. One that hangs is a fault."""
    if scene.unanswered is not None:
        raise scene.unanswered
    if scene.daemon is None:
        raise SkippedError("none runs here", "tunnel-client run")
    said = f"pid {scene.daemon.get('pid')}, version {scene.daemon.get('version')}"
    slots: dict[int, bool] = {}  # one may have a link that ends beside the one that it has now
    for each in scene.daemon.get("links", ()):
        slot = each.get("slot", 0)
        slots[slot] = bool(each.get("connected")) or slots.get(slot, False)
    links = list(slots.values())
    if not scene.daemon.get("connected"):
        return f"{said}, WITHOUT A LINK"
    if not all(links):
        return f"{said}, WITH {sum(links)} OF {len(links)} LINKS: tunnel-client status"
    return f"{said}, with {len(links)} links" if len(links) > 1 else f"{said}, with a link"


async def policy(scene: Scene) -> str:
    """Is the policy file one?"""
    file = load_policy(scene.settings.policy)
    scene.facts["policy"] = file.policy
    return f"digest {file.policy.digest[:12]}, {len(file.policy.rules)} rules"


async def audit(scene: Scene) -> str:
    """Can the log be written?"""
    settings = scene.settings
    if not settings.audit.on:
        raise SkippedError("AUDITING IS OFF: nothing that agents do is written down")
    folder = settings.audit_folder
    said = (scene.daemon or {}).get("audit", {})
    if said.get("failing"):
        raise AuditBrokenError(f"the daemon cannot write it: {said['failing']}")
    if folder.exists():
        check_folder(folder)
    place = _nearest(folder)
    if not os.access(place, os.W_OK | os.X_OK):
        raise AuditBrokenError(f"{place} cannot be written by this user", f"ls -ld {place}")
    free = os.statvfs(place)
    if free.f_bavail * free.f_frsize < MIN_FREE:
        raise AuditBrokenError(f"the disk of {place} has less than 16 MiB left", f"df -h {place}")
    return f"{folder}, {said['records']} records" if "records" in said else f"{folder}"


def _nearest(folder: Path) -> Path:
    """Return the folder, or the one above it that is there already."""
    for each in (folder, *folder.parents):
        if each.exists():
            if not each.is_dir():
                raise UnsafeFileError(f"{each} is not a folder", f"ls -ld {each}")
            return each
    return folder
