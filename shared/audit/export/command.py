"""The command `audit export`: records in another format on standard output."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import click

from shared.record.export.names import FORMATS, Format


def export_command(
    folder_of: Callable[..., Path],
    reading: Callable[[], Any],
    *options: Callable[[Any], Any],
) -> click.Command:
    """Return the command.

    `options` give `folder_of` its arguments; `reading` turns AuditError into a program's refusal.
    """

    @click.command("export")
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
    def export(spelling: str, first: int, last: int | None, **rest: Any) -> None:
        """Print records, one a line, in the words of another system; nothing is sent."""
        from shared.audit.export.convert import converted

        with reading():
            for line in converted(folder_of(**rest), cast(Format, spelling), first, last):
                click.echo(line)

    command: Any = export
    for add in options[::-1]:
        command = add(command)
    return cast(click.Command, command)
