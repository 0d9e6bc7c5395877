"""The command `tunnel-client status`."""

import json
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from shared.seconds import Seconds
from tunnel_client.cli_options import (
    SCHEMA_VERSION,
    config_option,
    json_option,
    read_settings,
    show,
)
from tunnel_client.errors import NotRunningError

if TYPE_CHECKING:
    from tunnel_client.settings import ClientSettings

SHORTEST = 0.5
"""Seconds between two looks at the daemon: each costs it a screen's worth of work."""
_HOME_AND_CLEAR = "\x1b[H\x1b[2J"


@click.command()
@config_option
@json_option
@click.option("--watch", is_flag=True, help="Show it again and again, until Ctrl-C.")
@click.option(
    "--interval",
    type=Seconds(SHORTEST, 3600),
    default=2.0,
    show_default=True,
    help="Seconds between two screens of --watch.",
)
@click.option("--times", type=click.IntRange(1), help="End --watch after so many screens.")
def status(
    config: Path | None, as_json: bool, watch: bool, interval: float, times: int | None
) -> None:
    """Show what the running daemon is doing.

    With --watch and --json: one JSON object a line.
    """
    settings = read_settings(config)
    if not watch:
        _show(settings, as_json)
        return
    shown = 0
    try:
        while True:
            _again(settings, as_json, interval)
            shown += 1
            if shown == times:
                return
            time.sleep(interval)
    except KeyboardInterrupt:
        click.echo()


def _show(settings: "ClientSettings", as_json: bool) -> None:
    from tunnel_client.control import ask_status

    answer = ask_status(settings.state_dir)
    if as_json:
        show({"schema_version": SCHEMA_VERSION} | answer)
    else:
        show(_text(settings, answer))


def _again(settings: "ClientSettings", as_json: bool, interval: float) -> None:
    """Show one screen of many; a daemon that does not run is part of what is watched."""
    from tunnel_client.control import ask_status

    try:
        answer = {"schema_version": SCHEMA_VERSION, "running": True} | ask_status(
            settings.state_dir
        )
        text = _text(settings, answer)
    except NotRunningError as error:
        answer = {"schema_version": SCHEMA_VERSION, "running": False, "code": error.code}
        text = str(error)
    if as_json:
        click.echo(json.dumps(answer))
        return
    clear = _HOME_AND_CLEAR if sys.stdout.isatty() else ""
    when = time.strftime("%H:%M:%S")
    click.echo(f"{clear}{when}, every {interval:g} s; Ctrl-C ends it\n\n{text}\n")


def _text(settings: "ClientSettings", answer: dict[str, Any]) -> str:
    from tunnel_client.render import upstream_row
    from tunnel_client.status_view import status_text

    kinds = {each.name: upstream_row(each)["kind"] for each in settings.upstream}
    known = {key: value for key, value in answer.items() if key != "running"}
    return status_text(known, kinds, time.time())
