"""The command `tunnel-relay`. Everything heavy is imported inside the command that needs it."""

import contextlib
import json
import os
import shlex
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from shared.errors import TunnelError
from shared.escape import escaped
from shared.standard import standard_files
from shared.version import VERSION

if TYPE_CHECKING:
    from tunnel_relay.settings import Settings

SCHEMA_VERSION = 1
"""Of every `--json` answer; grows when a key changes its meaning or goes."""
AGENTS = ("claude-code", "cursor", "vscode", "desktop", "stdio", "inspector", "json")

F = TypeVar("F", bound=Callable[..., object])

config_option = click.option(
    "--config",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Configuration file.",
    show_default="relay.toml in /etc/tunnel-relay for root, else in ~/.config/tunnel-relay",
)
json_option = click.option("--json", "as_json", is_flag=True, help="Answer in JSON.")


def common(command: F) -> F:
    """Give a command `--config` and `--json`."""
    return config_option(json_option(command))


class Duration(click.ParamType[float]):
    """A span of time on the command line, in seconds."""

    name = "duration"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        from tunnel_relay.durations import parse_duration

        if isinstance(value, float):
            return value
        try:
            return parse_duration(value)
        except ValueError as error:
            self.fail(f"MT1024: {error}", param, ctx)


class Program(click.Group):
    """Prints a refusal with its code, cause and next command, and ends with its exit code."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except TunnelError as error:
            from tunnel_relay.errors import Code, RelayError
            from tunnel_relay.store.base import StoreError

            if isinstance(error, StoreError):
                error = RelayError(Code.STORE_UNAVAILABLE, str(error))
            if not isinstance(error, RelayError):
                raise
            explained = error.explained
            click.echo(escaped(f"{error.code}: {error.message}"), err=True)
            click.echo(f"  cause: {explained.cause}\n  next:  {explained.next}", err=True)
            ctx.exit(explained.exit_code)


@click.group(cls=Program, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(VERSION, prog_name="tunnel-relay")
def cli() -> None:
    """Offers private MCP servers to AI agents, each use bound to a session.

    \b
    First steps:
      tunnel-relay init --demo
      tunnel-relay serve
      tunnel-relay tunnel create NAME --owner USER
      tunnel-relay session create --user USER --agent AGENT --server NAME/UPSTREAM
    """


@cli.command()
@config_option
@click.option("--public-url", metavar="URL", help="Where agents and clients reach the relay.")
@click.option("--state-dir", type=click.Path(path_type=Path), help="Folder for database and keys.")
@click.option("--listen", default="127.0.0.1:8443", show_default=True, metavar="HOST:PORT")
@click.option(
    "--admin-listen",
    default="127.0.0.1:8444",
    show_default=True,
    metavar="HOST:PORT",
    help="Where the admin API and the console listen; none: nowhere.",
)
@click.option("--tls-cert", type=click.Path(path_type=Path, exists=True), help="Chain, PEM.")
@click.option("--tls-key", type=click.Path(path_type=Path, exists=True), help="Key, PEM.")
@click.option("--demo", is_flag=True, help="Make a certificate for localhost, for trying it out.")
def init(
    config: Path | None,
    public_url: str | None,
    state_dir: Path | None,
    listen: str,
    admin_listen: str,
    tls_cert: Path | None,
    tls_key: Path | None,
    demo: bool,
) -> None:
    """Write a configuration that works, with fresh keys. Never overwrites."""
    from tunnel_relay.init import Wanted, init
    from tunnel_relay.places import default_config, default_state_dir

    if public_url is not None:
        _check_origin(public_url, "--public-url")
    host, port = _split_listen(listen, "--listen")
    admin = None if admin_listen == "none" else _split_listen(admin_listen, "--admin-listen")
    if public_url is None and not demo:
        raise click.UsageError("say where agents reach the relay: --public-url, or --demo")
    if (tls_cert is None) != (tls_key is None) or (demo and tls_cert):
        raise click.UsageError("--tls-cert and --tls-key go together, and not with --demo")
    tls = (tls_cert.absolute(), tls_key.absolute()) if tls_cert and tls_key else None
    config = (config or default_config(os.environ)).absolute()
    state = (state_dir or default_state_dir(os.environ)).absolute()
    url = public_url or f"https://localhost:{port}"
    settings = init(Wanted(config, state, url, host, port, tls, demo, admin))
    click.echo(f"Wrote {config} and fresh keys in {state}.")
    option = config_words(config)
    if demo:
        authority = shlex.quote(str(state / "dev-ca.pem"))
        click.echo("The certificate is for trying on this machine only. Clients need:")
        click.echo(f"  tunnel-client enroll {settings.link_origins[0]} --ca-file {authority}")
    click.echo(f"Next:\n  tunnel-relay serve{option}")
    click.echo(f"  tunnel-relay tunnel create{option} NAME --owner USER")
    if settings.admin is not None:
        click.echo("For the console:")
        click.echo(f"  tunnel-relay user add{option} USER --role admin")
        click.echo(f"  {settings.admin.public_url or f'http://{admin_listen}'}")


@cli.command()
@config_option
def serve(config: Path | None) -> None:
    """Serve agents and clients until told to stop."""
    from shared.hangup import Hangups

    hangups = Hangups()
    settings = read(config)
    from tunnel_relay import serve as program

    program.run(settings, _path(config), hangups)


@cli.command("check-config")
@common
def check_config(config: Path | None, as_json: bool) -> None:
    """Check the configuration, keys, policy, certificate and database file; changes nothing."""
    from tunnel_relay.checks import check
    from tunnel_relay.errors import CONFIGURATION, RelayError

    with contextlib.suppress(RelayError):  # `check` says it
        look_at(config)
    problems = check(_path(config), os.environ)
    if as_json:
        listed = [
            {"code": each.code, "message": each.message, "next": each.explained.next}
            for each in problems
        ]
        answer({"ok": not problems, "problems": listed})
    else:
        for problem in problems:
            click.echo(f"{problem.code}: {problem.message}", err=True)
            click.echo(f"  next:  {problem.explained.next}", err=True)
        if not problems:
            click.echo(f"ok: {_path(config)}")
    sys.exit(CONFIGURATION if problems else 0)


@cli.command()
@common
def status(config: Path | None, as_json: bool) -> None:
    """Show the relay's state and links on one screen."""
    from tunnel_relay import render

    shown = run(config, "status")
    if as_json:
        answer(shown)
    else:
        click.echo(render.status(shown))


@cli.command("connect-info")
@common
@click.argument("server", metavar="TUNNEL/UPSTREAM")
@click.option("--for", "kind", type=click.Choice(AGENTS), default="json", show_default=True)
@click.option("--with-token", "token", is_flag=True, help="For a token that an admin handed over.")
def connect_info(config: Path | None, as_json: bool, server: str, kind: str, token: bool) -> None:
    """Print what to paste into an agent. The token is never part of it."""
    from tunnel_relay.admin.checks import split_server
    from tunnel_relay.connect_info import connect_info

    tunnel, upstream = split_server(server)
    settings = read(config)
    url = f"{settings.public_url[0]}/t/{tunnel}/{upstream}/mcp"
    token = token or not settings.authorization_servers  # nobody could log in
    text = connect_info(kind, f"{tunnel}-{upstream}", url, token=token)
    _warn_of_unknown(config, tunnel, upstream)
    if as_json:
        answer({"for": kind, "url": url, "text": text})
    else:
        click.echo(text)


def _warn_of_unknown(config: Path | None, tunnel: str, upstream: str) -> None:
    """Say on the error stream that there is no such server, as far as that can be known here."""
    from tunnel_relay.errors import Code, RelayError

    try:
        offered = run(config, "tunnel_show", name=tunnel)["upstreams"]
        if offered and upstream not in offered:  # while it has no link nobody knows
            said = f"{tunnel} offers {', '.join(offered)} now, not {upstream}"
            click.echo(f"warning: {said}", err=True)
    except RelayError as error:
        if error.code is Code.TUNNEL_UNKNOWN:
            click.echo(f"{error.code}: {error.message}", err=True)
            click.echo("  next:  tunnel-relay tunnel list; tunnel-relay tunnel create", err=True)


def read(config: Path | None) -> "Settings":
    """Read the configuration that a command works with; raises RelayError."""
    from tunnel_relay.settings import read_settings

    return read_settings(_path(config), os.environ)


def look_at(config: Path | None) -> "Settings":
    """Read it for a command that root may give beside a service's relay; raises RelayError."""
    from shared import ours

    settings = read(config)
    ours.look_after(settings.state_dir)
    return settings


def run(config: Path | None, command: str, **arguments: object) -> Any:
    """Give a command to the running relay, or run it here when there is none."""
    from tunnel_relay.admin.reach import run

    return run(read(config), command, **arguments)


def answer(value: dict[str, Any]) -> None:
    """Print a `--json` answer."""
    click.echo(json.dumps({"schema_version": SCHEMA_VERSION} | value, indent=2))


def listing(as_json: bool, key: str, rows: Sequence[Any], text: Callable[[Any], str]) -> None:
    """Print a listing as JSON under `key`, or as text."""
    if as_json:
        answer({key: rows})
    else:
        click.echo(text(rows))


def config_words(config: Path | None) -> str:
    """Return the `--config` a pasted command needs, or nothing."""
    from tunnel_relay.places import default_config

    if config is None or config.absolute() == default_config(os.environ).absolute():
        return ""
    return f" --config {shlex.quote(str(config.absolute()))}"


def done(result: dict[str, Any], as_json: bool, said: str) -> None:
    """Say what was done, as a sentence or as JSON, and fail if it is not stored yet."""
    if as_json:
        answer(result)
    else:
        click.echo(said)
    must_be_stored(result)


def must_be_stored(result: dict[str, Any]) -> None:
    """End with an error when a change holds in memory but not in the database."""
    from tunnel_relay.errors import Code, RelayError

    if not result["stored"]:
        code = Code.NOT_YET_STORED if result["journalled"] else Code.NOT_KEPT
        raise RelayError(code, "enforced, not yet stored")


def _path(config: Path | None) -> Path:
    from tunnel_relay.places import default_config

    return config or default_config(os.environ)


def _check_origin(text: str, option: str) -> None:
    from tunnel_relay.setting_types import normal_origin

    try:
        normal_origin(text)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint=option) from None


def _split_listen(text: str, option: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not host or not (port.isascii() and port.isdigit() and 0 < int(port) < 65536):
        raise click.UsageError(f"{option} takes HOST:PORT")
    return host, int(port)


def build() -> click.Group:
    """Return the whole tree of commands."""
    # Registered here, so that its other half can import from this file what both share.
    from tunnel_relay.cli_approvals import approval
    from tunnel_relay.cli_audit import audit
    from tunnel_relay.cli_diag import diag
    from tunnel_relay.cli_doctor import doctor
    from tunnel_relay.cli_grants import session, tunnel
    from tunnel_relay.cli_locks import lock
    from tunnel_relay.cli_people import agent, user
    from tunnel_relay.cli_policy import policy
    from tunnel_relay.cli_report import report
    from tunnel_relay.cli_tools import tool

    for group in (tunnel, session, lock, approval, user, agent, policy, tool, report, audit):
        cli.add_command(group)
    cli.add_command(doctor)
    cli.add_command(diag)
    return cli


def main() -> None:
    """Run the command line; the entry point of the package."""
    if sys.argv[1:2] == ["serve"]:
        # Nothing is read yet that could be read again, and to load the commands takes a while.
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
    with standard_files():
        build()()
