"""The command `tunnel-relay doctor`."""

import os
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from tunnel_relay.cli import answer, common, look_at
from tunnel_relay.errors import FAILED

if TYPE_CHECKING:
    from shared.checkup import Line


@click.command()
@common
def doctor(config: Path | None, as_json: bool) -> None:
    """Check everything the relay stands on, and name what is broken; changes nothing."""
    from shared.checkup import Outcome, summary

    lines: list[Line] = []

    async def all_lines() -> None:
        async for line in examined(config):
            lines.append(line)
            if not as_json:
                click.echo(line.text())

    import asyncio

    asyncio.run(all_lines())
    found = summary(lines)
    if as_json:
        answer(found)
    elif found["broken"]:
        click.echo(f"\nbroken: {found['broken']}")
    else:
        passed = sum(line.outcome is Outcome.PASS for line in lines)
        click.echo(f"\nok: {passed} checks passed")
    sys.exit(0 if found["ok"] else FAILED)


async def examined(config: Path | None) -> "AsyncIterator[Line]":
    """Yield every line; a configuration that cannot be read is the first line, and the only one."""
    from shared.checkup import Line, Outcome
    from tunnel_relay.doctor.findings import explain
    from tunnel_relay.doctor.table import examine
    from tunnel_relay.errors import RelayError
    from tunnel_relay.places import default_config

    path = config or default_config(os.environ)
    try:
        settings = look_at(path)
    except RelayError as error:
        yield Line("config", Outcome.FAIL, 0.0, fault=explain(error))
        return
    async for line in examine(path, settings, os.environ):
        yield line
