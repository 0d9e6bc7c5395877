"""The client's policy file: read with the same care as `client.toml`."""

from pathlib import Path

from shared import ours
from shared.configfile import ConfigError
from shared.policy.keeping import PolicyFile, stamp_of
from tunnel_client.errors import NoPolicyError, PolicyBrokenError
from tunnel_client.files import read_guarded

POLL = 2.0
"""Seconds between two looks at the file."""


def load_policy(path: Path) -> PolicyFile:
    """Load the policy for the first time; its `reload` and `poll` keep the last good one.

    Raises NoPolicyError, PolicyBrokenError (each fault with its line) and UnsafeFileError.
    """
    try:
        return PolicyFile(str(path), lambda: read_policy_text(path), lambda: stamp_of(path))
    except ConfigError as error:
        raise PolicyBrokenError(str(error)) from None


def read_policy_text(path: Path) -> str:
    """Return the text of a policy that only its owner or root can change; raises as above."""
    try:
        return read_guarded(path, forbidden=0o022, owners=(0, *ours.owners())).decode()
    except FileNotFoundError:
        raise NoPolicyError(f"no file {path}") from None
    except OSError as error:
        raise NoPolicyError(f"cannot read {path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise PolicyBrokenError(f"{path} is not UTF-8 text") from None
