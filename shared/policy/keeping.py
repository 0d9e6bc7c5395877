"""Keeps the policy that holds: a file that breaks later never takes it away, or makes it laxer.

Reads nothing itself: whoever makes a PolicyFile says how its file is read.
"""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from shared.configfile import ConfigError
from shared.errors import TunnelError
from shared.policy.document import read_policy
from shared.policy.model import Policy

Stamp = tuple[int, ...] | None
"""What changes when a file does, also its mode or owner; None when there is no such file."""


def stamp_of(path: Path) -> Stamp:
    """Return the stamp of a file."""
    try:
        facts = path.stat()
    except OSError:
        return None
    # A refused mode or owner that is mended moves nothing but the ctime.
    return facts.st_mtime_ns, facts.st_ctime_ns, facts.st_size, facts.st_ino


class Outcome(NamedTuple):
    """What a look at the file came to; `problem` says why the policy that held still holds."""

    changed: bool
    digest: str
    problem: str | None


class PolicyFile:
    """The policy of one file, the last good one.

    `policy` is replaced as a whole; take it once for each decision. `problem` says what is wrong
    with the file as it is now, None when it is the policy that holds.
    """

    def __init__(self, source: str, read: Callable[[], str], stamp: Callable[[], Stamp]) -> None:
        """Load for the first time; raises whatever `read` raises, and ConfigError."""
        self._source = source
        self._read = read
        self._stamp = stamp
        self._loaded = self._seen = stamp()
        self._unread = False
        self.policy: Policy = read_policy(read(), source)
        self.problem: str | None = None

    def reload(self) -> Outcome:
        """Read the file now, as for SIGHUP; never raises for what is wrong with it."""
        before = self.policy.digest
        self._loaded = self._seen = self._stamp()
        self._unread = True
        try:
            text = self._read()
            self._unread = False
            policy = read_policy(text, self._source)
        except (ConfigError, TunnelError, OSError, UnicodeError) as error:
            self.problem = str(error)
            return Outcome(False, before, self.problem)
        self.problem = None
        if policy.digest != before:
            self.policy = policy
        return Outcome(policy.digest != before, policy.digest, None)

    def facts(self) -> dict[str, str | None]:
        """Return what a status says: which policy holds, and what is wrong with its file."""
        return {"digest": self.policy.digest, "problem": self.problem}

    def poll(self) -> Outcome | None:
        """Read the file if it changed since, and stayed the same between two polls.

        The start of a file that is still being written can be a whole policy, with the rules that
        deny still missing. To be called every 2 s; costs one stat while the file can be read.
        """
        stamp = self._stamp()
        if stamp != self._seen:
            self._seen = stamp
            return None
        if stamp != self._loaded:
            return self.reload()
        return self._try_again() if self._unread else None

    def _try_again(self) -> Outcome | None:
        """Read a file that could not be read and looks the same; None when that fails as before.

        What kept it from being read may lie elsewhere: a disk, a folder on the way to it.
        """
        told = self.problem
        outcome = self.reload()
        return None if outcome.problem == told else outcome
