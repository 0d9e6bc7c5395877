"""Do both ends say the same of every call?"""

import sys
from collections.abc import Sequence
from pathlib import Path

import click

from shared.audit_cli.program import FILE, Program, answer, json_option
from shared.escape import one_line
from shared.seconds import Seconds

MAX_WHY = 1000

_FOLDER = click.Path(path_type=Path, file_okay=False, exists=True)

_key_option = click.option(
    "--key",
    "keys",
    type=FILE,
    multiple=True,
    help="Public key of each log, in the order of the folders; left out: those beside them.",
)
_slack_option = click.option(
    "--slack",
    type=Seconds(0, 3600),
    default=5.0,
    show_default=True,
    help="Seconds at the edges of a log in which nothing is held against the other.",
)
_window_option = click.option(
    "--window",
    type=Seconds(1, 86_400),
    default=600.0,
    show_default=True,
    help="Seconds that the clocks of both ends may be apart.",
)
_complete_option = click.option(
    "--complete",
    is_flag=True,
    help="End with 1 as well when calls could not be compared, as one log does not cover them.",
)


def reconcile_command(program: Program) -> click.Command:
    """Return `audit reconcile`."""

    @click.command("reconcile")
    @click.argument("relay", type=_FOLDER, metavar="RELAY_FOLDER")
    @click.argument("clients", type=_FOLDER, metavar="CLIENT_FOLDER...", nargs=-1, required=True)
    @_key_option
    @_slack_option
    @_window_option
    @_complete_option
    @json_option
    def reconcile(
        relay: Path,
        clients: tuple[Path, ...],
        keys: tuple[Path, ...],
        slack: float,
        window: float,
        complete: bool,
        as_json: bool,
    ) -> None:
        """Hold the log of a relay against those of its clients, call by call.

        Give copies of the folders of every client that the relay had. Each log is verified first,
        and says itself whose it is: the order of the folders does not matter.
        Ends with 1 when a log is not what was written, or a call is not accounted for.
        """
        from shared.audit.reconciling import reconcile_folders, relay_first
        from shared.audit_cli.views import differences

        if keys and len(keys) != 1 + len(clients):
            raise click.UsageError("give one --key for each folder, in their order, or none")
        folders = [program.where(None, each) for each in (relay, *clients)]
        with program.reading():
            first, *others = relay_first(folders)
            broken, unproven = _doubts(program, folders, keys)
            found = reconcile_folders(first, others, slack=slack, window=window)
        ok = found.ok and not broken and not unproven
        if as_json:
            answer({**found.as_dict(), "ok": ok, "broken": broken, "unproven": unproven})
        else:
            for folder, why in broken.items():
                click.echo(f"NOT WHAT WAS WRITTEN: {folder}: {one_line(why, MAX_WHY)}")
            for folder, why in unproven.items():
                click.echo(f"NOT PROVEN: {folder}: {why}")
            click.echo(differences(found, sound=not broken and not unproven))
        lacking = complete and found.uncompared > 0
        sys.exit(0 if ok and not lacking else 1)

    return reconcile


def _doubts(
    program: Program, folders: Sequence[Path], keys: Sequence[Path]
) -> tuple[dict[str, str], dict[str, str]]:
    """Return why logs are not what was written, and why others are not proven, by folder."""
    from shared.audit.verifying import verify_folder

    broken: dict[str, str] = {}
    unproven: dict[str, str] = {}
    for at, folder in enumerate(folders):
        public = program.public(keys[at]) if keys else program.public_of(folder)
        report = verify_folder(folder, public)
        if report.fault is not None:
            broken[str(folder)] = str(report.fault)
        elif report.unproven is not None:
            unproven[str(folder)] = report.unproven
    return broken, unproven
