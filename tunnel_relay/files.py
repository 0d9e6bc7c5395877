"""Files that only the relay may read or change; checked before they are believed."""

import os
import stat
from pathlib import Path

from shared import ours
from tunnel_relay.errors import Code, RelayError

MAX_BYTES = 1024 * 1024


def read_private(path: Path) -> str:
    """Return the text of a secret file.

    Raises RelayError: KEY_UNUSABLE when it cannot be read, FILE_UNSAFE when others can read it.
    """
    return _read(path, Code.KEY_UNUSABLE, secret=True)


def read_config(path: Path, missing: Code = Code.CONFIG_MISSING) -> str:
    """Return the text of a configuration file.

    Others may read it but not write it. Raises RelayError `missing` or FILE_UNSAFE.
    """
    return _read(path, missing, secret=False)


def _read(path: Path, missing: Code, *, secret: bool) -> str:
    try:
        # Checked on the open file, so that it cannot be exchanged in between.
        with path.open("rb") as file:
            status = os.fstat(file.fileno())
            _check_owner(path, status)
            _check_mode(path, status, secret=secret)
            content = file.read(MAX_BYTES + 1)
        if len(content) > MAX_BYTES:
            # Cut short, a list of what is denied would still look whole.
            raise RelayError(missing, f"{path} is larger than 1 MiB")
        return content.decode()
    except OSError as error:
        raise RelayError(missing, f"cannot read {path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise RelayError(missing, f"{path} is not UTF-8 text") from error


def _check_owner(path: Path, status: os.stat_result) -> None:
    if status.st_uid not in (0, *ours.owners()):
        raise RelayError(Code.FILE_UNSAFE, f"{path} belongs to another user (uid {status.st_uid})")


def _check_mode(path: Path, status: os.stat_result, *, secret: bool) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise RelayError(Code.FILE_UNSAFE, f"{path} is not a plain file")
    forbidden = 0o077 if secret else 0o022
    if secret and status.st_uid == 0 != os.geteuid():
        # systemd hands credentials over as root's, mode 0440, with an ACL for the service.
        forbidden = 0o037
    if status.st_mode & forbidden:
        who = "read or changed" if secret else "changed"
        mode = stat.S_IMODE(status.st_mode)
        raise RelayError(Code.FILE_UNSAFE, f"{path} can be {who} by others (mode {mode:04o})")


def check_state_dir(path: Path) -> None:
    """Make the state folder (mode 0700) or check it; raises RelayError FILE_UNSAFE."""
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        status = path.stat()
    except OSError as error:
        raise RelayError(Code.FILE_UNSAFE, f"cannot use {path}: {error.strerror}") from error
    _check_owner(path, status)
    if status.st_mode & 0o077:
        mode = stat.S_IMODE(status.st_mode)
        raise RelayError(Code.FILE_UNSAFE, f"{path} is open to others (mode {mode:04o})")


def write_new(path: Path, text: str) -> None:
    """Write a file of mode 0600 that must not be there yet; raises RelayError EXISTS_ALREADY."""
    try:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        with os.fdopen(os.open(path, flags, 0o600), "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
    except FileExistsError as error:
        raise RelayError(Code.EXISTS_ALREADY, f"{path} is there already") from error
    except OSError as error:
        raise RelayError(Code.FILE_UNSAFE, f"cannot write {path}: {error.strerror}") from error
