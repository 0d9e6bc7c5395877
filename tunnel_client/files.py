"""Reads files that others must not have touched, and writes files that survive a power cut."""

import contextlib
import errno
import os
import secrets
import stat
from pathlib import Path

from shared import ours
from tunnel_client.errors import UnsafeFileError

MAX_BYTES = 1024 * 1024
_FOLDER = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_MAX_LINKS = 40
"""As many as the kernel follows."""


def read_guarded(
    path: Path,
    *,
    forbidden: int,
    owners: tuple[int, ...],
    links: bool | None = True,
    limit: int = MAX_BYTES,
) -> bytes:
    """Return a file's bytes after checking who owns it and who else may use it.

    `forbidden` are the permission bits that must not be set, `links` tells whether `path` may be
    a symbolic link (None: one that only we or root can change), `limit` is the largest size in
    bytes. The facts are those of the open file, so it cannot be swapped in between.
    Raises UnsafeFileError and OSError.
    """
    flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | (0 if links else os.O_NOFOLLOW)
    if not links and path.is_symlink():
        if links is False:
            raise UnsafeFileError(f"{path} is a symbolic link", f"ls -l {path}")
        # As root, what the service leads elsewhere could lead to a secret of somebody else.
        descriptor = _follow(path, flags, (0, os.geteuid()))
    else:
        descriptor = os.open(path, flags)
    with os.fdopen(descriptor, "rb") as file:
        facts = os.fstat(descriptor)
        if not stat.S_ISREG(facts.st_mode):
            raise UnsafeFileError(f"{path} is not a regular file", f"ls -l {path}")
        _check(path, facts, forbidden, owners)
        content = file.read(limit + 1)
    if len(content) > limit:
        size = f"{limit // (1024 * 1024)} MiB"
        raise UnsafeFileError(f"{path} is larger than {size}", f"ls -l {path}")
    return content


def _follow(path: Path, flags: int, owners: tuple[int, ...]) -> int:
    """Open what a link leads to, when nobody but `owners` can make it lead elsewhere.

    Each step is taken from the open folder before it, so that none is swapped after its check.
    Raises UnsafeFileError and OSError.
    """
    rest = list(reversed(path.absolute().parts[1:]))
    folders = [os.open("/", _FOLDER)]
    links = 0
    try:
        while rest:
            _check_step(path, os.fstat(folders[-1]), owners)
            name = rest.pop()
            if name == "..":
                if len(folders) > 1:
                    os.close(folders.pop())
                continue
            facts = os.stat(name, dir_fd=folders[-1], follow_symlinks=False)
            if stat.S_ISLNK(facts.st_mode):
                # Nobody may plant one in a folder that all may write in, as /tmp is.
                _check_step(path, facts, owners)
                links += 1
                if links > _MAX_LINKS:
                    raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))
                target = Path(os.readlink(name, dir_fd=folders[-1]))
                if target.is_absolute():
                    while len(folders) > 1:
                        os.close(folders.pop())
                rest += reversed(target.parts[1:] if target.is_absolute() else target.parts)
            elif rest:
                folders.append(os.open(name, _FOLDER, dir_fd=folders[-1]))
            else:
                return os.open(name, flags, dir_fd=folders[-1])
        raise UnsafeFileError(f"{path} is not a regular file", f"ls -l {path}")
    finally:
        for folder in folders:
            os.close(folder)


def _check_step(path: Path, facts: os.stat_result, owners: tuple[int, ...]) -> None:
    """Refuse a step that others can change; a link has no permissions, its folder has."""
    # In a sticky folder others add names and change none: Kubernetes mounts secrets at 1777.
    open_to_others = stat.S_ISDIR(facts.st_mode) and facts.st_mode & 0o022
    if facts.st_uid not in owners or (open_to_others and not facts.st_mode & stat.S_ISVTX):
        raise UnsafeFileError(
            f"{path} is a symbolic link that others can lead elsewhere", f"namei -l {path}"
        )


def check_folder(path: Path, owners: tuple[int, ...] | None = None) -> None:
    """Check that a folder is ours alone, or that of `owners`; raises UnsafeFileError and OSError.

    The path may be a link, as systemd makes it for StateDirectory= with DynamicUser=.
    """
    facts = path.stat()
    if not stat.S_ISDIR(facts.st_mode):
        raise UnsafeFileError(f"{path} is not a folder", f"ls -ld {path}")
    _check(path, facts, 0o077, owners or ours.owners())


def owners_of(folder: Path) -> tuple[int, ...]:
    """Return whose a file in it may be: ours, and for root also the folder's owner's."""
    if os.geteuid() != 0:
        return (os.geteuid(),)
    try:
        return (0, folder.stat().st_uid)
    except OSError:
        return (0,)


def make_folder(path: Path) -> None:
    """Make a folder only we can enter, or check the one that is there; raises as above."""
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    check_folder(path)


def write_private(
    path: Path,
    content: bytes,
    like: os.stat_result | None = None,
    owner: os.stat_result | None = None,
) -> None:
    """Write a file of mode 0600 so that a crash leaves the old or the new one, whole.

    `like` gives mode and owner of a file that is replaced, `owner` only an owner. When this
    returns, the file is on disk; raises OSError.
    """
    draft = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    descriptor = os.open(draft, flags, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            ours.give(descriptor)
            if owner is not None:
                os.fchown(descriptor, owner.st_uid, owner.st_gid)
            if like is not None:
                os.fchown(descriptor, like.st_uid, like.st_gid)
                os.fchmod(descriptor, stat.S_IMODE(like.st_mode))
            file.write(content)
            file.flush()
            os.fsync(descriptor)
        draft.replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            draft.unlink()
        raise
    _sync_folder(path.parent)


def _sync_folder(path: Path) -> None:
    # The new name is only safe once the folder is on disk too (fsync(2), notes).
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _check(path: Path, facts: os.stat_result, forbidden: int, owners: tuple[int, ...]) -> None:
    mode = stat.S_IMODE(facts.st_mode)
    if facts.st_uid not in owners:
        # Root has to look first: a service that works may be the one that it belongs to.
        mend = f"chown $(id -u) {path}" if os.geteuid() else f"ls -ld {path}"
        raise UnsafeFileError(f"{path} belongs to another user", mend)
    if mode & forbidden:
        allowed = mode & ~forbidden
        raise UnsafeFileError(
            f"{path} is open to others (mode {mode:04o})", f"chmod {allowed:04o} {path}"
        )
