"""What commands share: options, the settings they read, how they answer."""

import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from tunnel_client.settings import ClientSettings

SCHEMA_VERSION = 1
"""Of every `--json` answer; grows when a key changes its meaning or goes."""

config_option = click.option(
    "--config",
    "config",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Configuration file.",
    show_default="client.toml in /etc/tunnel-client for root, else in ~/.config/tunnel-client",
)
json_option = click.option("--json", "as_json", is_flag=True, help="Answer in JSON.")


def config_path(config: Path | None) -> Path:
    """Return the file that was named, or the usual one."""
    from tunnel_client.settings import default_config

    return config or default_config(os.environ)


def read_settings(config: Path | None) -> "ClientSettings":
    """Read and check the configuration; raises as `load_settings`."""
    from tunnel_client.settings import load_settings

    return load_settings(config_path(config), os.environ)


def look_at(config: Path | None) -> "ClientSettings":
    """Read it for a command that root may give beside a daemon of another user; raises as above."""
    from shared import ours

    settings = read_settings(config)
    ours.look_after(settings.state_dir)
    return settings


def show(answer: dict[str, Any] | str) -> None:
    """Print text as it is, and values as JSON."""
    click.echo(answer if isinstance(answer, str) else json.dumps(answer, indent=2))


def quiet() -> None:
    """Send warnings to standard error and drop the rest: standard output is for the answer."""
    import logging

    import structlog

    structlog.configure(
        wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )
