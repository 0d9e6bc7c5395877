"""Is a log what was written? And what it takes to ask that elsewhere."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from shared.audit_cli.program import FILE, Program, answer, folder_option, json_option
from shared.escape import one_line

if TYPE_CHECKING:
    from shared.record.verify import Report

MAX_LINE = 1000


def verify_command(program: Program) -> click.Command:
    """Return `audit verify`."""

    @click.command("verify")
    @program.config_option
    @folder_option
    @click.option(
        "--key",
        type=FILE,
        help="Public key that signed the checkpoints; left out: the one beside the log.",
    )
    @click.option(
        "--checkpoint",
        "kept",
        type=FILE,
        multiple=True,
        help="Checkpoints that were kept elsewhere: one or more in a file; repeatable.",
    )
    @json_option
    def verify(
        config: Path | None,
        folder: Path | None,
        key: Path | None,
        kept: tuple[Path, ...],
        as_json: bool,
    ) -> None:
        """Tell whether the log is what was written; needs no settings with --folder.

        Without a key and a checkpoint from elsewhere, whoever could write the log could have made
        both.
        """
        from shared.audit.verifying import ForeignCheckpointError, verify_folder

        where = program.where(config, folder)
        public = program.public_of(where) if key is None else program.public(key)
        with program.reading():
            exported = [note for path in kept for note in _notes(program, path)]
            try:
                report = verify_folder(where, public, exported)
            except ForeignCheckpointError as error:
                raise program.no_checkpoint(str(error)) from None
        if as_json:
            answer(report.as_dict())
        else:
            for line in verdict(report):
                click.echo(line)
        sys.exit(0 if report.ok else 1)

    return verify


def _notes(program: Program, path: Path) -> list[str]:
    """Return the checkpoints in a file."""
    from shared.record.checkpoint import CheckpointError, printed

    try:
        return printed(path.read_text(encoding="utf-8"))
    except (UnicodeDecodeError, CheckpointError):
        why = f"{path} holds no checkpoint, or something else beside it"
        raise program.no_checkpoint(why) from None


def verdict(report: "Report") -> list[str]:
    """Return what came of it, for people."""
    removed = _removed(report)
    if report.fault is not None:
        return [one_line(f"BROKEN at {report.fault}", MAX_LINE), *removed]
    if report.unproven is not None:
        return [f"NOT PROVEN: {report.unproven}", *removed]
    said = [f"ok: {report.records} records, {report.checkpoints} checkpoints", *removed]
    if unsigned := report.records - report.signed:
        said.append(f"the last {unsigned} are not signed yet")
    if report.open_intents:
        said.append(f"{len(report.open_intents)} calls have no end (yet)")
    if report.torn:
        said.append("the last line is torn, as a writer leaves it that was killed")
    return said


def _removed(report: "Report") -> list[str]:
    if not report.removed:
        return []
    by = f" by {', '.join(report.removed_by)}" if report.removed_by else ""
    return [one_line(f"records below {report.removed} were removed{by}", MAX_LINE)]


def checkpoint_command(program: Program) -> click.Command:
    """Return `audit checkpoint`."""

    @click.command("checkpoint")
    @program.config_option
    @folder_option
    @json_option
    def checkpoint(config: Path | None, folder: Path | None, as_json: bool) -> None:
        """Print the newest signed checkpoint: kept elsewhere, it shows what was cut or changed."""
        from shared.audit.notes import last_note
        from shared.audit.segments import segments

        where = program.where(config, folder)
        with program.reading():
            note, parts = last_note(where), segments(where)
        if note is None:
            none = "nothing is signed yet; wait ten seconds" if parts else f"no log in {where}"
            raise program.refusal(none)
        if as_json:
            answer({"checkpoint": note})
        else:
            click.echo(note, nl=False)

    return checkpoint


def key_command(program: Program) -> click.Command:
    """Return `audit key`."""

    @click.command("key")
    @program.config_option
    @folder_option
    @json_option
    def key(config: Path | None, folder: Path | None, as_json: bool) -> None:
        """Print the public key of the log, to verify it elsewhere."""
        from shared.keys import encode_public

        text = encode_public(program.public_of(program.where(config, folder)))
        if as_json:
            answer({"public_key": text})
        else:
            click.echo(text)

    return key
