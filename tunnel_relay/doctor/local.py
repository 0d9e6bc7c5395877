"""What can be checked on the relay's machine: files, keys, policy, database, log, clock."""

import os
import sqlite3
from pathlib import Path

import anyio

from shared.audit.keys import PUBLIC_FILE, read_public
from shared.audit.private import AuditError
from shared.audit.segments import segments
from shared.audit.verifying import verify_folder
from shared.checkup import SkippedError
from shared.keys import key_fingerprint
from shared.record.verify import Report
from tunnel_relay.checks import check_database, check_others
from tunnel_relay.doctor.findings import Finding, FoundError
from tunnel_relay.doctor.scene import Scene
from tunnel_relay.errors import Code, RelayError
from tunnel_relay.files import check_state_dir
from tunnel_relay.keyfiles import read_relay_key, read_session_key
from tunnel_relay.policy.load import load_policy
from tunnel_relay.settings import POLICY_FILE
from tunnel_relay.store.schema import steps

MIN_FREE = 64 * 1024 * 1024
"""Bytes on a disk below which what writes is about to fail."""
MAX_VERIFIED = 128 * 1024 * 1024
"""Bytes of a log that is verified here; a larger one takes longer than a doctor may."""
_SLACK = 60.0


async def config(scene: Scene) -> str:
    """Are certificates and secrets of issuers there? Other files have lines of their own."""
    for problem in check_others(scene.settings, scene.environ):
        raise problem
    return f"{scene.settings.public_url[0]}, state in {scene.settings.state_dir}"


async def keys(scene: Scene) -> str:
    """Are the keys there, whole, and nobody else's?"""
    check_state_dir(scene.settings.state_dir)
    key = read_relay_key(scene.settings.relay_key)
    read_session_key(scene.settings.mcp_session_key)
    return f"relay key {key_fingerprint(key.public)}"


async def policy(scene: Scene) -> str:
    """Is the policy file one?"""
    settings = scene.settings
    found = load_policy(settings.policy or settings.state_dir / POLICY_FILE).policy
    return f"digest {found.digest[:12]}, {len(found.rules)} rules"


async def store(scene: Scene) -> str:
    """Is the database ours, whole, as new as the program, and can it be written?"""
    path = scene.settings.database
    if not path.exists():
        raise SkippedError("there is none yet; the first start makes it")
    check_database(scene.settings)
    if not os.access(path, os.W_OK) or not os.access(path.parent, os.W_OK | os.X_OK):
        raise RelayError(Code.STORE_UNAVAILABLE, f"{path} cannot be written by this user")
    _check_room(path.parent)
    problem = (scene.running or {}).get("store", {}).get("problem")
    if problem:
        raise RelayError(Code.STORE_UNAVAILABLE, f"the running relay says: {problem}")
    at = await anyio.to_thread.run_sync(_version, path, abandon_on_cancel=True)
    newest = steps()
    if at not in newest:
        raise FoundError(Finding.STORE_OF_OTHER, f"{path} is at step {at!r}, unknown here")
    behind = len(newest) - 1 - newest.index(at)
    return f"{path}, at step {at}" + (f"; {behind} steps at the next start" if behind else "")


def _version(path: Path) -> str:
    """Read which step a database is at, without changing it; raises RelayError."""
    try:
        # As it is on the disk: a relay that runs keeps it whole by its write-ahead log.
        with sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True, timeout=2.0) as database:
            row = database.execute("SELECT version_num FROM alembic_version").fetchone()
        database.close()
    except sqlite3.Error as error:
        raise RelayError(Code.STORE_UNAVAILABLE, f"cannot read {path}: {error}") from None
    return "" if row is None else str(row[0])


async def audit(scene: Scene) -> str:
    """Can the log be written, and is it what was written?"""
    settings = scene.settings
    if not settings.audit.on:
        raise SkippedError("AUDITING IS OFF: nothing that agents or admins do is written down")
    folder = settings.audit_folder
    if not folder.exists():
        raise SkippedError("there is none yet; the first start makes it")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise FoundError(Finding.LOG_BROKEN, f"{folder} cannot be written by this user")
    _check_room(folder)
    size = sum(each.path.stat().st_size for each in segments(folder))
    if size > MAX_VERIFIED:
        return f"{folder}: {size >> 20} MiB, too much to verify here"
    try:
        found = await anyio.to_thread.run_sync(_verified, folder, abandon_on_cancel=True)
    except (AuditError, OSError) as error:
        raise FoundError(Finding.LOG_BROKEN, str(error)) from None
    if found.first_bad is not None:
        raise FoundError(
            Finding.LOG_BROKEN, f"record {found.first_bad} is not what was written: {found.reason}"
        )
    if found.unproven is not None:
        raise FoundError(Finding.LOG_BROKEN, f"not proven: {found.unproven}")
    return f"{folder}: {found.records} records verify, {found.checkpoints} checkpoints"


def _verified(folder: Path) -> Report:
    """Verify a log; once more when it was bad: a running relay may have closed a file meanwhile."""
    public = read_public(folder / PUBLIC_FILE)
    found = verify_folder(folder, public, cross=False)
    return found if found.ok else verify_folder(folder, public, cross=False)


def _check_room(folder: Path) -> None:
    free = os.statvfs(folder)
    if free.f_bavail * free.f_frsize < MIN_FREE:
        raise FoundError(Finding.LOG_BROKEN, f"the disk of {folder} has less than 64 MiB left")


async def clock(scene: Scene) -> str:
    """Is the clock not behind what was written here?"""
    settings = scene.settings
    written = [settings.database, settings.database.with_name(settings.database.name + "-wal")]
    if settings.audit_folder.exists():
        written += [each.path for each in segments(settings.audit_folder)]
    newest = max((each.stat().st_mtime for each in written if each.exists()), default=0.0)
    return judge_clock(scene.now(), newest)


def judge_clock(now: float, newest: float) -> str:
    """Judge the clock by the newest file; raises FoundError. Pure."""
    if now + _SLACK < newest:
        raise FoundError(
            Finding.CLOCK_BACK, f"it is {newest - now:.0f} s behind the newest file of this relay"
        )
    return "not behind what was written here"
