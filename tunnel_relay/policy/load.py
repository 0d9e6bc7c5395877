"""The relay's policy file: read with the same care as `relay.toml`."""

from pathlib import Path

from shared.configfile import ConfigError
from shared.policy.keeping import PolicyFile, stamp_of
from tunnel_relay.errors import Code, RelayError
from tunnel_relay.files import read_config

POLL = 2.0
"""Seconds between two looks at the file."""


def load_policy(path: Path) -> PolicyFile:
    """Load the policy for the first time; its `reload` and `poll` keep the last good one.

    Raises RelayError POLICY_MISSING, POLICY_BROKEN (each fault with its line) or FILE_UNSAFE.
    """
    try:
        return PolicyFile(str(path), lambda: read_policy_text(path), lambda: stamp_of(path))
    except ConfigError as error:
        raise RelayError(Code.POLICY_BROKEN, str(error)) from None


def read_policy_text(path: Path) -> str:
    """Return the text of a policy that only its owner or root can change; raises as above."""
    return read_config(path, Code.POLICY_MISSING)
