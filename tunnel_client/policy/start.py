"""Files that the policy commands write and read: the first policy, fixtures, pages."""

from pathlib import Path

from shared.configfile import ConfigError
from shared.policy.fixtures import Fixture, read_fixtures
from tunnel_client.errors import FixturesBrokenError, PolicyExistsError, StateWriteError
from tunnel_client.files import write_private
from tunnel_client.policy.default import default_policy

MAX_BYTES = 1024 * 1024


def write_default(path: Path) -> None:
    """Write the policy of a new client, mode 0600; raises PolicyExistsError, StateWriteError."""
    if path.exists() or path.is_symlink():
        raise PolicyExistsError(f"{path} is there already")
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_private(path, default_policy().encode())
    except OSError as error:
        raise StateWriteError(f"cannot write {path}: {error.strerror}") from None


def load_fixtures(path: Path) -> list[Fixture]:
    """Read calls and what is expected of them; raises FixturesBrokenError."""
    try:
        with path.open("rb") as file:
            text = file.read(MAX_BYTES + 1).decode()
        return read_fixtures(text, str(path))
    except ConfigError as error:
        raise FixturesBrokenError(str(error)) from None
    except (OSError, UnicodeDecodeError) as error:
        raise FixturesBrokenError(f"cannot read {path}: {type(error).__name__}") from None


def write_page(path: Path, text: str) -> None:
    """Write a page, over what was there; raises StateWriteError."""
    try:
        path.write_text(text)
    except OSError as error:
        raise StateWriteError(f"cannot write {path}: {error.strerror}") from None
