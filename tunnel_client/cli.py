"""The command `tunnel-client`. Everything heavy is imported inside the command that needs it."""

import os
import signal
import sys
from pathlib import Path
from typing import Any

import click

from shared.escape import escaped
from shared.standard import standard_files
from shared.version import VERSION
from tunnel_client.cli_audit import audit
from tunnel_client.cli_connect import connect
from tunnel_client.cli_consent import consent
from tunnel_client.cli_diag import diag
from tunnel_client.cli_doctor import doctor
from tunnel_client.cli_options import SCHEMA_VERSION, config_option, json_option, look_at
from tunnel_client.cli_options import read_settings as _settings
from tunnel_client.cli_options import show as _print
from tunnel_client.cli_policy import policy
from tunnel_client.cli_report import report
from tunnel_client.cli_service import service
from tunnel_client.cli_status import status
from tunnel_client.cli_tools import tool
from tunnel_client.cli_upstream import upstream
from tunnel_client.errors import EXIT_CONFIGURATION, ClientError


class Program(click.Group):
    """Prints a refusal of ours with its code, cause and next command, and ends with its status."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except ClientError as error:
            # Causes may quote what a server said, and it must not move the cursor.
            click.echo(escaped(str(error)), err=True)
            ctx.exit(error.exit_code)


@click.group(cls=Program, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(VERSION, prog_name="tunnel-client")
def cli() -> None:
    """Lets AI agents reach private MCP servers through a relay, without an open port here.

    \b
    First steps:
      tunnel-client enroll wss://relay.example
      tunnel-client upstream add NAME --url http://127.0.0.1:3000/mcp
      tunnel-client run
    """


@cli.command()
@click.argument("relay")
@config_option
@click.option(
    "--state-dir", type=click.Path(path_type=Path, file_okay=False), help="Where the key is kept."
)
@click.option(
    "--join-code-file",
    metavar="FILE",
    help="Read the join code from a file, or from standard input with -; asked for otherwise.",
)
@click.option(
    "--ca-file",
    type=click.Path(path_type=Path, dir_okay=False, exists=True),
    help="Trust this authority too (PEM).",
)
@click.option("--proxy", metavar="URL", help='HTTP proxy, or "none"; default: HTTPS_PROXY.')
@click.option(
    "--proxy-auth",
    metavar="REFERENCE",
    help="Where user:password of the proxy is: env:NAME, file:PATH or credential:NAME.",
)
@click.option(
    "--force", is_flag=True, help="Enroll again: the key is lost, the configuration kept."
)
def enroll(
    relay: str,
    config: Path | None,
    state_dir: Path | None,
    join_code_file: str | None,
    ca_file: Path | None,
    proxy: str | None,
    proxy_auth: str | None,
    force: bool,
) -> None:
    """Enrol this machine at RELAY (wss://HOST) with a join code.

    The code is never an argument, because other users can read those.
    """
    from shared.link import loop
    from tunnel_client.audit.commands import record_enrolment
    from tunnel_client.enroll import check_room, check_scheme, enroll, next_steps, plan_from
    from tunnel_client.settings import default_config

    plan = plan_from(
        relay,
        config=config or default_config(os.environ),
        state_dir=state_dir,
        ca_file=ca_file,
        proxy=proxy,
        proxy_auth=proxy_auth,
        force=force,
        environ=os.environ,
    )
    check_room(plan)
    check_scheme(plan)
    enrolled = loop.run(enroll(plan, _join_code(join_code_file)))
    record_enrolment(_settings(plan.config))
    click.echo(next_steps(plan, enrolled, os.environ))


def _join_code(source: str | None) -> Any:
    from tunnel_client.enroll import check_code
    from tunnel_client.errors import BadJoinCodeError

    if source is None:
        if not sys.stdin.isatty():
            raise click.UsageError("no terminal to ask for the join code: use --join-code-file -")
        return check_code(click.prompt("Join code", hide_input=True))
    if source == "-":
        return check_code(sys.stdin.readline(1024))
    try:
        with Path(source).open() as file:
            return check_code(file.readline(1024))
    except (OSError, UnicodeDecodeError) as error:
        why = f"cannot read {source}: {type(error).__name__}"
        raise BadJoinCodeError(why, f"ls -l {source}") from None


@cli.command()
@config_option
def run(config: Path | None) -> None:
    """Serve the configured upstreams through the relay until told to stop."""
    from shared.hangup import Hangups

    hangups = Hangups()
    settings = _settings(config)
    from tunnel_client import app

    sys.exit(app.run(settings, hangups))


@cli.command("check-config")
@config_option
@json_option
def check_config(config: Path | None, as_json: bool) -> None:
    """Check configuration, key, policy, pins, CA files and programs; connects nowhere."""
    from tunnel_client.checks import check, serving_note, standing

    settings = look_at(config)
    problems = check(settings, os.environ)
    if as_json:
        listed = [{"code": each.code, "cause": each.cause, "next": each.next} for each in problems]
        kept = [
            {"name": each.name, "sandbox": each.sandbox} for each in standing(settings, os.environ)
        ]
        answer = {"schema_version": SCHEMA_VERSION, "ok": not problems, "problems": listed}
        _print({**answer, "stdio": kept})
    else:
        for problem in problems:
            click.echo(str(problem), err=True)
        for stand in standing(settings, os.environ):
            click.echo(f"{stand.name}: {stand.sandbox}")
        if not problems:
            click.echo(f"ok: {serving_note(settings)}")
    sys.exit(EXIT_CONFIGURATION if problems else 0)


cli.add_command(connect)
cli.add_command(upstream)
cli.add_command(tool)
cli.add_command(policy)
cli.add_command(consent)
cli.add_command(audit)
cli.add_command(report)
cli.add_command(doctor)
cli.add_command(diag)
cli.add_command(status)
cli.add_command(service)


def main() -> None:
    """Run the command line and end the process with its status."""
    if sys.argv[1:2] == ["run"]:
        # Nothing is read yet that could be read again, and to load what serves takes a while.
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
    with standard_files():
        cli(prog_name="tunnel-client")


if __name__ == "__main__":
    main()
