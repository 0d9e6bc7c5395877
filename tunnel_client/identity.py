"""Who this client instance is: its key, its id and its join counter, kept in the state folder.

The folder is ours alone (0700) and one process uses it at a time, because the relay takes a
counter that does not grow as the sign of a copied key.
"""

import errno
import fcntl
import os
import re
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from pydantic import SecretStr

from shared import ours
from shared.holder import LOCK_FILE, sign, signed
from shared.ids import new_id
from shared.keys import BadKeyError, PrivateKey
from tunnel_client.errors import (
    AlreadyEnrolledError,
    AlreadyRunningError,
    BrokenStateError,
    NotEnrolledError,
    StateWriteError,
)
from tunnel_client.files import check_folder, make_folder, read_guarded, write_private

KEY_FILE = "client.key"
INSTANCE_FILE = "instance"
COUNTER_FILE = "counter"
MAX_COUNTER = 2**53 - 1
"""The largest integer every JSON reader keeps exact (RFC 8259 section 6)."""
_INSTANCE = re.compile(r"[0-9a-f]{32}")
_COUNTER = re.compile(r"0|[1-9][0-9]{0,15}")


class StateLock:
    """Holds the state folder for one process, until closed or the process ends."""

    def __init__(self, state_dir: Path) -> None:
        """Take the folder, made if it is missing; raises AlreadyRunningError and others."""
        self._descriptor = -1
        try:
            make_folder(state_dir)
            flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
            self._descriptor = os.open(state_dir / LOCK_FILE, flags, 0o600)
            ours.give(self._descriptor)
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            sign(self._descriptor)
        except BlockingIOError:
            holder = signed(self._descriptor)
            self.close()
            raise AlreadyRunningError(
                f"process {holder or 'unknown'} already uses {state_dir}"
            ) from None
        except OSError as error:
            self.close()
            full = error.errno in (errno.ENOSPC, errno.EDQUOT)
            look = "df -h" if full else "--state-dir names another folder; ls -ld"
            raise StateWriteError(
                f"cannot use {state_dir}: {error.strerror}", f"{look} {state_dir.parent}"
            ) from None

    def close(self) -> None:
        """Let the folder go; does nothing the second time."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


@dataclass(slots=True)
class Identity:
    """An enrolled instance; use it only while holding the folder's `StateLock`."""

    state_dir: Path
    instance: str
    key: PrivateKey
    counter: int

    @classmethod
    def create(cls, state_dir: Path) -> "Identity":
        """Make a fresh instance in memory; `save` keeps it."""
        return cls(state_dir, new_id(), PrivateKey.generate(), 0)

    @classmethod
    def read(cls, state_dir: Path) -> "Identity":
        """Read the instance; raises NotEnrolledError, UnsafeFileError and BrokenStateError."""
        pem = _read(state_dir, KEY_FILE)
        try:
            key = PrivateKey.from_pem(SecretStr(pem))
        except BadKeyError as error:
            raise BrokenStateError(f"{state_dir / KEY_FILE}: {error}") from None
        instance = _read(state_dir, INSTANCE_FILE).strip()
        counter = _read(state_dir, COUNTER_FILE).strip()
        if not _INSTANCE.fullmatch(instance):
            raise BrokenStateError(f"{state_dir / INSTANCE_FILE} holds no instance id")
        if not _COUNTER.fullmatch(counter):
            # Starting over at 0 would look like a clone to the relay and lock the key.
            raise BrokenStateError(f"{state_dir / COUNTER_FILE} holds no number")
        return cls(state_dir, instance, key, int(counter))

    def save(self) -> None:
        """Write everything; raises StateWriteError."""
        self._write(COUNTER_FILE, f"{self.counter}\n")
        self._write(INSTANCE_FILE, f"{self.instance}\n")
        self._write(KEY_FILE, self.key.to_pem().get_secret_value())

    def next_counter(self) -> int:
        """Return a join counter never used before, once it is safely on disk.

        Call it before every connect. Blocks for one fsync or two; raises StateWriteError, and
        then no connection may be made.
        """
        if self.counter >= MAX_COUNTER:
            raise BrokenStateError("the join counter has reached its end")
        self._write(COUNTER_FILE, f"{self.counter + 1}\n")
        self.counter += 1
        return self.counter

    def _write(self, name: str, text: str) -> None:
        try:
            write_private(self.state_dir / name, text.encode())
        except OSError as error:
            place = self.state_dir / name
            raise StateWriteError(f"cannot write {place}: {error.strerror}") from None


def is_enrolled(state_dir: Path) -> bool:
    """Tell whether the folder holds a key."""
    return (state_dir / KEY_FILE).exists()


def refuse_enrolled(state_dir: Path) -> None:
    """Raise AlreadyEnrolledError when the folder holds a key."""
    if is_enrolled(state_dir):
        raise AlreadyEnrolledError(
            f"{state_dir} already holds a key; --force replaces it and ends the old instance"
        )


def _read(state_dir: Path, name: str) -> str:
    path = state_dir / name
    try:
        check_folder(state_dir)
        return read_guarded(path, forbidden=0o077, owners=ours.owners(), links=False).decode()
    except FileNotFoundError:
        raise NotEnrolledError(f"no {path}") from None
    except OSError as error:
        raise BrokenStateError(f"cannot read {path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise BrokenStateError(f"{path} is not text") from None
