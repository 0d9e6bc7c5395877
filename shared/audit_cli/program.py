"""What differs between the programs that have these commands, and how a command answers."""

import json
import shlex
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import click

SCHEMA_VERSION = 1
"""Of every `--json` answer; grows when a key changes its meaning or goes."""

json_option = click.option("--json", "as_json", is_flag=True, help="Answer in JSON.")
folder_option = click.option(
    "--folder",
    type=click.Path(path_type=Path, file_okay=False, exists=True),
    help="A log, or a copy of one; left out: that of the configuration.",
)
FILE = click.Path(path_type=Path, dir_okay=False, exists=True)


class Program(NamedTuple):
    """The program whose commands these are."""

    name: str
    config_option: Callable[[Any], Any]
    folder: Callable[[Path | None], Path]
    """Where the log of a configuration is; raises the program's refusal."""
    refusal: Callable[[str], Exception]
    """The program's refusal, with its code, for a log that cannot be read."""
    no_checkpoint: Callable[[str], Exception]
    """The same for what was given as a checkpoint of the log and is none."""
    mixed: Callable[[str], Exception]
    """The same for logs that are not one relay's and its clients'."""
    unknown: Callable[[str], Exception] | None = None
    """The same for a session that is not in it, where it says who lists them."""

    def where(self, config: Path | None, folder: Path | None) -> Path:
        """Return the folder of the log that is meant; raises the program's refusal."""
        if folder is None:
            return self.folder(config)
        below = folder / "audit"
        if below.is_dir() and not any(folder.glob("*.jsonl*")):
            # A state folder: the log in it has a folder of its own.
            raise self.refusal(f"no log in {folder}; there is one in {below}")
        return folder

    def words(self, *words: str, **options: object) -> str:
        """Return a command of this program as it is pasted into a shell."""
        said = [self.name, "audit", *words]
        for name, value in options.items():
            if value is True:
                said.append(f"--{name}")
            elif value is not None and value is not False:
                said += [f"--{name}", str(value)]
        return shlex.join(said)

    @contextmanager
    def reading(self) -> Iterator[None]:
        """Turn what keeps a log from being read into the program's refusal, or a usage error."""
        from shared.audit.private import AuditError
        from shared.audit.query import WantedError
        from shared.audit.reconciling import MixedLogsError
        from shared.audit.replay import UnknownSessionError

        try:
            yield
        except WantedError as error:
            raise click.UsageError(str(error)) from None
        except MixedLogsError as error:
            raise self.mixed(str(error)) from None
        except UnknownSessionError as error:
            raise (self.unknown or self.refusal)(str(error)) from None
        except AuditError as error:
            raise self.refusal(str(error)) from None
        except BrokenPipeError:
            raise  # who read the answer has enough: click ends a command then, and says nothing
        except OSError as error:
            which = "it" if error.filename is None else error.filename
            raise self.refusal(f"cannot read {which}: {error.strerror}") from None
        except UnicodeDecodeError:
            raise self.refusal("cannot be read: it is no text in UTF-8") from None

    def public_of(self, folder: Path) -> bytes:
        """Return the public key beside a log."""
        from shared.audit.keys import PUBLIC_FILE
        from shared.audit.private import AuditError
        from shared.audit.segments import segments

        path = folder / PUBLIC_FILE
        with self.reading():
            if not path.exists() and not segments(folder):
                raise AuditError(f"no log in {folder}")
        return self.public(path)

    def public(self, path: Path) -> bytes:
        """Return the public key in a file."""
        from shared.keys import BadKeyError, decode_public

        try:
            return decode_public(path.read_text().strip())
        except OSError as error:
            raise self.refusal(f"no public key in {path}: {error.strerror}") from None
        except (UnicodeDecodeError, BadKeyError):
            raise self.refusal(f"no public key in {path}") from None


def answer(value: dict[str, Any]) -> None:
    """Print a `--json` answer."""
    click.echo(json.dumps({"schema_version": SCHEMA_VERSION} | value, indent=2))
