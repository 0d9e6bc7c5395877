"""The command `audit export`: records in another format on standard output."""

from pathlib import Path
from typing import cast

import click

from shared.audit_cli.program import Program, folder_option
from shared.record.export.names import FORMATS, Format


def export_command(program: Program) -> click.Command:
    """Return the command of a program."""

    @click.command("export")
    @program.config_option
    @folder_option
    @click.option(
        "--format",
        "spelling",
        type=click.Choice(FORMATS),
        default="jsonl",
        show_default=True,
        help="jsonl: as it is, to be verified; otlp: a span a line.",
    )
    @click.option(
        "--from", "first", type=click.IntRange(0), default=0, help="Number of the first record."
    )
    @click.option("--to", "last", type=click.IntRange(0), help="Number of the last record.")
    def export(
        config: Path | None, folder: Path | None, spelling: str, first: int, last: int | None
    ) -> None:
        """Print records, one a line, in the words of another system; nothing is sent."""
        from shared.audit.export.convert import converted

        with program.reading():
            where = program.where(config, folder)
            for line in converted(where, cast(Format, spelling), first, last):
                click.echo(line)

    return export
