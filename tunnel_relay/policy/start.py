"""Files that the policy commands write and read: the first policy, fixtures, pages."""

from pathlib import Path

from shared.configfile import ConfigError
from shared.policy.fixtures import Fixture, read_fixtures
from tunnel_relay.errors import Code, RelayError
from tunnel_relay.files import write_new
from tunnel_relay.policy.default import default_policy

MAX_BYTES = 1024 * 1024


def write_default(path: Path) -> None:
    """Write the policy of a new relay, mode 0600; raises RelayError EXISTS_ALREADY, FILE_UNSAFE."""
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        message = f"cannot make {path.parent}: {error.strerror}"
        raise RelayError(Code.FILE_UNSAFE, message) from error
    write_new(path, default_policy())


def load_fixtures(path: Path) -> list[Fixture]:
    """Read calls and what is expected of them; raises RelayError FIXTURES_BROKEN."""
    try:
        with path.open("rb") as file:
            text = file.read(MAX_BYTES + 1).decode()
        return read_fixtures(text, str(path))
    except ConfigError as error:
        raise RelayError(Code.FIXTURES_BROKEN, str(error)) from None
    except (OSError, UnicodeDecodeError) as error:
        message = f"cannot read {path}: {type(error).__name__}"
        raise RelayError(Code.FIXTURES_BROKEN, message) from None


def write_page(path: Path, text: str) -> None:
    """Write a page, over what was there; raises RelayError FILE_UNSAFE."""
    try:
        path.write_text(text)
    except OSError as error:
        raise RelayError(Code.FILE_UNSAFE, f"cannot write {path}: {error.strerror}") from error
