"""What to start for a stdio upstream, and the numbers that bound it; values only."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import PurePath

from pydantic import SecretStr

from shared.wire.limits import KIB, MIB
from tunnel_client.credentials.inject import environment, hidden_in_logs

ALWAYS_INHERITED = ("PATH", "HOME", "LANG")
"""What a child sees of our own environment without being named; nearly no program runs without."""


@dataclass(frozen=True, slots=True)
class StdioCommand:
    """One program and its surroundings, from the local configuration and nowhere else.

    `argv` goes to execve as it is, never through a shell; its first word is an absolute path.
    `inherit` names variables of our own environment a child may see, `env` sets others. Raises
    ValueError for a relative program or an argument with a NUL.
    """

    argv: tuple[str, ...]
    cwd: str | None = None
    inherit: tuple[str, ...] = ()
    env: Mapping[str, SecretStr] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.argv or not PurePath(self.argv[0]).is_absolute():
            raise ValueError("the program of a stdio upstream is an absolute path")
        if any("\0" in word for word in self.argv):
            raise ValueError("an argument holds a NUL")

    def environment(self, ours: Mapping[str, str]) -> dict[str, str]:
        """Return the whole environment of a child: allow-listed names only."""
        names = (*ALWAYS_INHERITED, *self.inherit)
        inherited = {name: ours[name] for name in names if name in ours}
        return inherited | environment(self.env)

    def secrets(self) -> list[str]:
        """Return the values that must not show in a log; short ones would blot out plain words."""
        return hidden_in_logs(self.env)


@dataclass(frozen=True, slots=True)
class StdioLimits:
    """Bytes, seconds and counts for one stdio upstream."""

    line_bytes: int = 16 * MIB
    """Longest message of a child; a longer one ends the child."""
    unsent_bytes: int = 16 * MIB
    """What may wait for a child that does not read; more is refused."""
    children: int = 32
    """Processes alive at once, those that are ending included."""
    in_flight: int = 1024
    """Exchanges at once on the shared child, and again in one MCP session."""
    in_flight_per_session: int = 128
    """Of those on the shared child; so that one session cannot take them all."""
    exchange_buffer_bytes: int = 4 * MIB
    """What the shared child may say to an agent that does not read; more ends that exchange."""
    queued_messages: int = 100
    """Messages of a legacy child kept until a stream is there to carry them."""
    queued_bytes: int = MIB
    probe_timeout: float = 10.0
    listing_timeout: float = 10.0
    """Longest wait for `tools/list` when a call's headers need checking; then it goes unchecked."""
    schema_age: float = 60.0
    commit_after: float = 15.0
    """Silence after which an answer becomes an event stream, so that nothing cuts it off."""
    idle_timeout: float = 1800.0
    """An MCP session without an exchange for this long is ended."""
    grace: float = 2.0
    """From closing stdin to SIGTERM, and from SIGTERM to SIGKILL."""
    fast_grace: float = 0.5
    """From SIGTERM to SIGKILL when a session was revoked."""
    sweep: float = 1.0
    stderr_lines: int = 100
    stderr_bytes: int = 64 * KIB
    stderr_window: float = 10.0
    stable_after: float = 30.0
    """A child that lived this long was not part of a crash loop."""
    quarantine_after: int = 8
    """Crashes in a row after which nothing is started for `quarantine` seconds."""
    quarantine: float = 300.0

    @property
    def children_per_session(self) -> int:
        """Of `children` what one session of the relay may have, so that it cannot take them all."""
        return max(1, self.children - max(1, self.children // 4))
