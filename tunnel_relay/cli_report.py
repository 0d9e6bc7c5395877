"""The command `tunnel-relay report`: one page for whoever judges an installation's security."""

import os
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import click

from tunnel_relay.cli import answer, look_at
from tunnel_relay.cli_approvals import give, reachable
from tunnel_relay.errors import FAILED

PAGE = Path("report.html")
_FILE = click.Path(path_type=Path, dir_okay=False)
_GRAVITY = ("high", "medium", "low")


@click.command()
@reachable
@click.option("--output", type=_FILE, default=PAGE, show_default=True, help="Where the page goes.")
@click.option(
    "--client",
    "clients",
    multiple=True,
    type=_FILE,
    metavar="FILE",
    help="What tunnel-client report --json wrote; repeatable.",
)
@click.option(
    "--records",
    type=click.IntRange(0, 200),
    default=25,
    show_default=True,
    help="Newest records of the log to show.",
)
@click.option(
    "--fail-on",
    type=click.Choice(_GRAVITY),
    help="End with 1 when something of this severity, or a graver one, is found.",
)
def report(
    config: Path | None,
    as_json: bool,
    output: Path,
    clients: tuple[Path, ...],
    records: int,
    fail_on: str | None,
    **how: Any,
) -> None:
    """Write one page for the security review: findings, who may call what, credentials, log.

    It stands alone: no script, nothing fetched. With --token an auditor may make it from another
    machine; the log is then not looked at.
    """
    from tunnel_relay.report.document import document
    from tunnel_relay.report.log import look, not_looked_at
    from tunnel_relay.report.parts import read_part

    parts = [read_part(path) for path in clients]
    facts = give(config, how, "report")
    if how["token"] is not None:
        log = not_looked_at("it lies on the relay's machine, and this was made from afar")
    elif not facts["settings"]["audit"]["on"]:
        log = not_looked_at("audit.on is false")
    else:
        log = look(look_at(config).audit_folder, records)
    doc = document(facts, parts, log)
    if as_json:
        answer(doc)
    else:
        from tunnel_relay.report.page import page

        write(output, page(doc))
        counts = ", ".join(f"{count} {name}" for name, count in doc["verdict"]["counts"].items())
        click.echo(f"{output.absolute()}\n{doc['verdict']['said']} ({counts})")
    counted = _GRAVITY[: _GRAVITY.index(fail_on) + 1] if fail_on else ()
    sys.exit(FAILED if any(doc["verdict"]["counts"][each] for each in counted) else 0)


def write(path: Path, text: str) -> None:
    """Write the page, mode 0600, over the one from before; raises RelayError REPORT_UNWRITABLE."""
    import secrets  # a hash library that `--help` need not wait for

    from tunnel_relay.errors import Code, RelayError

    fresh = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        with os.fdopen(os.open(fresh, flags, 0o600), "w", encoding="utf-8") as file:
            file.write(text)
        fresh.replace(path)
    except OSError as error:
        with suppress(OSError):
            fresh.unlink(missing_ok=True)
        message = f"cannot write {path}: {error.strerror}"
        raise RelayError(Code.REPORT_UNWRITABLE, message) from None
