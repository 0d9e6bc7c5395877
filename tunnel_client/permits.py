"""Judges permits: signed by whom the policy trusts, for exactly this call, and never used before.

A permit is used up before its call is dispatched: its identifier is on disk when `use` returns, so
that neither a second call nor a restart finds it unused. What was used is forgotten some days after
the permit expired, because it is refused for that then, even if the clock is set back a little.
"""

import os
import re
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import Self

from shared.passkey import ApproverKey
from shared.permit import Permit, PermitError, check_keys, decode
from tunnel_client.errors_upstreams import PermitFileError
from tunnel_client.files import read_guarded, write_private

FILE = "permits.used"
MAX_USED = 100_000
"""Permits used and not expired at a time; more are refused. A line is 44 bytes at most."""
MAX_LIFE = 8 * 86400.0
"""Seconds that a permit may still live: a longer one would have to be remembered for ever."""
REWRITE = 1000
"""Lines after which the file is written anew, without those that are forgotten."""
_LINE = re.compile(r"([0-9a-f]{32}) ([0-9]{1,11})")


@dataclass(frozen=True, slots=True)
class Expectation:
    """What a permit has to be for; the first eight as in `shared.permit.Permit`.

    `keys` are the approvers' public keys that the policy lists; with none the relay's counts.
    """

    session: str
    user: str
    agent: str
    server: str
    tool: str
    definition: str
    arguments: str
    policy: str
    tool_class: str
    count: int
    not_requester: bool
    keys: Collection[ApproverKey]
    relay_key: bytes


class Permits:
    """The permits this client has used; one instance a state folder, which somebody has locked."""

    def __init__(self, path: Path, used: dict[str, int], clock: Callable[[], float]) -> None:
        self._path = path
        self._used = used
        self._clock = clock
        self._written = 0
        self._lock = Lock()
        self._file: int | None = None

    @classmethod
    def open(cls, state_dir: Path, clock: Callable[[], float]) -> Self:
        """Read what was used before; raises PermitFileError, and then no permit may be used."""
        path = state_dir / FILE
        try:
            text = read_guarded(
                path, forbidden=0o077, owners=(os.geteuid(),), links=False, limit=MAX_USED * 50
            ).decode("ascii")
        except FileNotFoundError:
            text = ""
        except (OSError, UnicodeDecodeError) as error:
            raise PermitFileError(f"cannot read {path}: {type(error).__name__}") from None
        permits = cls(path, _read(path, text), clock)
        permits._rewrite()
        return permits

    def close(self) -> None:
        """Let the file go."""
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def use(self, text: str, expected: Expectation) -> Permit:
        """Use a permit up for a call; raises PermitError, and then the call may not run.

        Blocks for one fsync. It may be called from several threads at once.
        """
        signed = decode(text)
        permit = signed.permit
        check_keys(signed, expected.keys, expected.count, expected.relay_key)
        if not expected.keys and expected.not_requester and permit.user in signed.approvers:
            raise PermitError("requester")
        for name in Expectation.__slots__:
            if name in Permit.__slots__ and getattr(permit, name) != getattr(expected, name):
                raise PermitError(name)
        with self._lock:
            now = self._clock()
            if now >= permit.expires:
                raise PermitError("expired")
            if permit.expires > now + MAX_LIFE:
                raise PermitError("lives too long")
            if _LINE.fullmatch(f"{permit.id} {permit.expires}") is None:
                raise PermitError("malformed")
            if permit.id in self._used:
                raise PermitError("used")
            try:
                self._remember(permit)
            except PermitFileError:
                raise PermitError("not written down") from None
        return permit

    def _remember(self, permit: Permit) -> None:
        """Write a permit down, durably; from then on it is used, even if its call never runs."""
        if len(self._used) >= MAX_USED or self._written >= REWRITE:
            self._rewrite()
        if len(self._used) >= MAX_USED:
            raise PermitError("too many")
        # First in memory: a write that fails half way may have reached the disk all the same.
        self._used[permit.id] = permit.expires
        try:
            if self._file is None:
                flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
                self._file = os.open(self._path, flags, 0o600)
            line = f"{permit.id} {permit.expires}\n".encode()
            if os.write(self._file, line) != len(line):
                raise OSError("short write")
            os.fsync(self._file)
        except OSError:
            self.close()
            self._written = REWRITE  # half a line may be there: nothing may be written behind it
            raise PermitError("not written down") from None
        self._written += 1

    def _rewrite(self) -> None:
        """Write the file anew without what has expired, whole or not at all."""
        now = self._clock()
        kept = {key: expires for key, expires in self._used.items() if expires > now - MAX_LIFE}
        text = "".join(f"{key} {expires}\n" for key, expires in kept.items())
        self.close()
        try:
            write_private(self._path, text.encode())
        except OSError as error:
            raise PermitFileError(f"cannot write {self._path}: {error.strerror}") from None
        self._used, self._written = kept, 0


def _read(path: Path, text: str) -> dict[str, int]:
    """Return what a file says was used; a last line without its end was never relied on."""
    used: dict[str, int] = {}
    lines = text.split("\n")
    for line in lines[:-1]:
        found = _LINE.fullmatch(line)
        if found is None:
            raise PermitFileError(f"{path} is damaged")
        used[found[1]] = int(found[2])
    # Its call may have run all the same, if only the end of the line is missing.
    whole = _LINE.match(lines[-1])
    if whole is not None:
        used[whole[1]] = int(whole[2])
    return used
