"""The command `tunnel-client doctor`."""

import os
import sys
from pathlib import Path
from typing import Any

import click

from tunnel_client.cli_options import (
    SCHEMA_VERSION,
    config_option,
    json_option,
    look_at,
    quiet,
    show,
)
from tunnel_client.errors import EXIT_FAILED


@click.command()
@config_option
@json_option
@click.option("--through-relay", is_flag=True, help="Make a real call through the relay too.")
@click.option(
    "--token",
    metavar="REFERENCE",
    help="Where a session token for that call is: env:NAME, file:PATH or credential:NAME.",
)
@click.option("--server", metavar="UPSTREAM", help="The upstream to call; the first otherwise.")
def doctor(
    config: Path | None, as_json: bool, through_relay: bool, token: str | None, server: str | None
) -> None:
    """Check every layer between here and an answer, and name the one that is broken.

    With a daemon running, its link is asked about; without one a short link is made.
    """
    if (token or server) and not through_relay:
        raise click.UsageError("--token and --server go with --through-relay")
    from shared.checkup import Line, Outcome, summary
    from shared.link import loop

    quiet()
    lines: list[Line] = []

    async def all_lines() -> None:
        async for line in _lines(config, through_relay, token, server):
            lines.append(line)
            if not as_json:
                show(line.text())

    loop.run(all_lines())
    answer = summary(lines)
    if as_json:
        show({"schema_version": SCHEMA_VERSION} | answer)
    elif answer["broken"]:
        show(f"\nbroken: {answer['broken']}")
    else:
        show(f"\nok: {sum(line.outcome is Outcome.PASS for line in lines)} checks passed")
    sys.exit(0 if answer["ok"] else EXIT_FAILED)


async def _lines(
    config: Path | None, through_relay: bool, token: str | None, server: str | None
) -> Any:
    """Yield every line; a configuration that cannot be read is the first line, and the only one."""
    from shared.checkup import Fault, Line, Outcome
    from shared.configfile import SecretRef
    from tunnel_client.doctor.table import examine
    from tunnel_client.errors import ClientError, SecretError
    from tunnel_client.settings import read_secret

    try:
        settings = look_at(config)
        try:
            reference = None if token is None else SecretRef.parse(token)
        except ValueError as error:
            raise SecretError(str(error), "tunnel-client doctor --help") from None
        secret = None if reference is None else read_secret(reference, os.environ)
    except ClientError as error:
        fault = Fault(error.code, error.cause, error.next)
        yield Line("config", Outcome.FAIL, 0.0, fault=fault)
        return
    async for line in examine(
        settings, os.environ, through_relay=through_relay, token=secret, server=server
    ):
        yield line
