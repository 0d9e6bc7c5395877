"""The commands `tunnel-client audit`: everything reads files; nothing changes a log."""

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from shared.audit.export.command import export_command
from tunnel_client.cli_options import (
    SCHEMA_VERSION,
    config_option,
    json_option,
    read_settings,
    show,
)

if TYPE_CHECKING:
    pass

folder_option = click.option(
    "--folder",
    type=click.Path(path_type=Path, file_okay=False, exists=True),
    help="A log, or a copy of one; left out: that of the configuration.",
)


@click.group()
def audit() -> None:
    """Look at what was written down: calls before and after, and what bears on them."""


@audit.command("verify")
@config_option
@folder_option
@click.option(
    "--key",
    type=click.Path(path_type=Path, dir_okay=False, exists=True),
    help="Public key that signed the checkpoints; left out: the one beside the log.",
)
@click.option(
    "--checkpoint",
    type=click.Path(path_type=Path, dir_okay=False, exists=True),
    help="A checkpoint that was kept elsewhere.",
)
@json_option
def audit_verify(
    config: Path | None,
    folder: Path | None,
    key: Path | None,
    checkpoint: Path | None,
    as_json: bool,
) -> None:
    """Tell whether the log is what was written; needs no settings with --folder.

    Without a key and a checkpoint from elsewhere, whoever could write the log could have made both.
    """
    from shared.audit.keys import PUBLIC_FILE
    from shared.audit.verifying import verify_folder

    where = _folder(config, folder)
    public = _public(key or where / PUBLIC_FILE)
    with _reading():
        exported = [] if checkpoint is None else [checkpoint.read_text()]
        report = verify_folder(where, public, exported)
    if as_json:
        show({"schema_version": SCHEMA_VERSION, **report.as_dict()})
    elif report.ok:
        unsigned = report.records - report.signed
        show(f"ok: {report.records} records, {report.checkpoints} checkpoints")
        if unsigned:
            show(f"the last {unsigned} are not signed yet")
        if report.open_intents:
            show(f"{len(report.open_intents)} calls have no end (yet)")
        if report.torn:
            show("the last line is torn, as a writer leaves it that was killed")
    else:
        show(f"BROKEN at record {report.first_bad}: {report.reason}")
    sys.exit(0 if report.ok else 1)


def _filters(command: Any) -> Any:
    """Add the options that say which records are wanted."""
    for option in (
        click.option("--kind", help="Kind, or how it begins: call., call.refused, tool."),
        click.option("--user"),
        click.option("--agent"),
        click.option("--session", help="Session id, or how it begins."),
        click.option("--server", help="Name of the upstream."),
        click.option("--tool"),
        click.option("--class", "tool_class", help="read, draft, write, ..."),
        click.option("--decision", help="allow, deny or require_approval."),
        click.option("--call", help="One call, as both ends name it."),
    ):
        command = option(command)
    return command


@audit.command("tail")
@config_option
@folder_option
@_filters
@click.option("-n", "--count", type=click.IntRange(1, 100_000), default=20, show_default=True)
@json_option
def audit_tail(
    config: Path | None, folder: Path | None, count: int, as_json: bool, **filters: Any
) -> None:
    """Show the newest records."""
    from shared.audit.reading import Wanted, newest

    with _reading():
        found = newest(_folder(config, folder), Wanted(**filters), count)
    _show(found, as_json)


@audit.command("query")
@config_option
@folder_option
@_filters
@click.option("--since", type=click.DateTime(), help="UTC.")
@click.option("--until", type=click.DateTime(), help="UTC.")
@click.option("--after", type=int, default=-1, help="Records above this number: the next page.")
@click.option("--limit", type=click.IntRange(1, 100_000), default=1000, show_default=True)
@json_option
def audit_query(
    config: Path | None,
    folder: Path | None,
    after: int,
    limit: int,
    as_json: bool,
    since: Any,
    until: Any,
    **filters: Any,
) -> None:
    """Show the records that fit, oldest first."""
    from itertools import islice

    from shared.audit.reading import Wanted, read

    wanted = Wanted(**filters, since=_time(since), until=_time(until), after=after)
    with _reading():
        found = list(islice(read(_folder(config, folder), wanted), limit))
    _show(found, as_json)


@audit.command("checkpoint")
@config_option
@folder_option
@json_option
def audit_checkpoint(config: Path | None, folder: Path | None, as_json: bool) -> None:
    """Print the newest signed checkpoint: kept elsewhere, it shows what was cut off or changed."""
    from shared.audit.notes import CHECKPOINTS
    from shared.record.checkpoint import notes_of
    from tunnel_client.errors import AuditUnreadableError

    with _reading():
        notes = list(notes_of((_folder(config, folder) / CHECKPOINTS).read_text()))
    if not notes:
        raise AuditUnreadableError("nothing is signed yet", "wait ten seconds")
    if as_json:
        show({"schema_version": SCHEMA_VERSION, "checkpoint": notes[-1]})
    else:
        click.echo(notes[-1], nl=False)


@audit.command("key")
@config_option
@folder_option
@json_option
def audit_key(config: Path | None, folder: Path | None, as_json: bool) -> None:
    """Print the public key of the log, to verify it elsewhere."""
    from shared.audit.keys import PUBLIC_FILE
    from shared.keys import encode_public

    text = encode_public(_public(_folder(config, folder) / PUBLIC_FILE))
    show({"schema_version": SCHEMA_VERSION, "public_key": text} if as_json else text)


def _folder(config: Path | None, folder: Path | None) -> Path:
    return folder or read_settings(config).audit_folder


def _public(path: Path) -> bytes:
    from shared.keys import BadKeyError, decode_public
    from tunnel_client.errors import AuditUnreadableError

    try:
        return decode_public(path.read_text().strip())
    except (OSError, UnicodeDecodeError, BadKeyError) as error:
        raise AuditUnreadableError(f"no public key in {path}: {type(error).__name__}") from None


class _reading:  # noqa: N801 - used as a word
    """Turns what keeps a log from being read into a refusal with a code."""

    def __enter__(self) -> None: ...

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        from shared.audit.private import AuditError
        from tunnel_client.errors import AuditUnreadableError

        if isinstance(error, AuditError):
            raise AuditUnreadableError(str(error)) from None
        if isinstance(error, (OSError, UnicodeDecodeError)):
            raise AuditUnreadableError(f"cannot be read: {type(error).__name__}") from None


def _time(given: Any) -> int | None:
    from datetime import UTC

    return None if given is None else int(given.replace(tzinfo=UTC).timestamp() * 1_000_000)


def _show(found: Any, as_json: bool) -> None:
    from shared.audit.reading import row

    for record in found:
        click.echo(json.dumps(record) if as_json else row(record))


audit.add_command(export_command(_folder, _reading, config_option, folder_option))
