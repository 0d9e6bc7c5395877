"""The command `tunnel-client connect`."""

import os
import sys
from pathlib import Path

import click

_FILE = click.Path(path_type=Path, dir_okay=False)


@click.command()
@click.argument("url")
@click.option("--token-file", type=_FILE, help="Send this token; only you may read the file.")
@click.option(
    "--ca-file",
    type=click.Path(path_type=Path, dir_okay=False, exists=True),
    help="Trust this authority too (PEM).",
)
@click.option("--agent-id", metavar="ID", help="The client id the relay's admin made for you.")
@click.option("--no-browser", is_flag=True, help="Only print the address of the login.")
@click.option(
    "--state-dir", type=click.Path(path_type=Path, file_okay=False), help="Where logins are kept."
)
@click.option("--login", "only_login", is_flag=True, help="Log in now, for agents started later.")
@click.option("--logout", "only_logout", is_flag=True, help="Give the login back and forget it.")
def connect(
    url: str,
    token_file: Path | None,
    ca_file: Path | None,
    agent_id: str | None,
    no_browser: bool,
    state_dir: Path | None,
    only_login: bool,
    only_logout: bool,
) -> None:
    """Offer the MCP server at URL to an agent that only speaks stdio.

    The token comes from --token-file or MCP_TUNNEL_TOKEN; without either you log in with your
    browser, once. Needs no enrolment.
    """
    if only_login and only_logout:
        raise click.UsageError("give either --login or --logout")
    from shared.link.loop import run as run_loop
    from tunnel_client.connect import run
    from tunnel_client.settings import default_state_dir

    plan = run.make_plan(
        url,
        os.environ,
        state_dir=state_dir or default_state_dir(os.environ),
        token_file=token_file,
        ca_file=ca_file,
        agent_id=agent_id,
        opens_browser=not no_browser,
    )
    if only_logout:
        ended = run_loop(run.log_out(plan))
        click.echo("logged out" if ended else "there was no login")
    elif only_login:
        run_loop(run.log_in(plan))
        click.echo(f"logged in at {plan.server.origin}")
    else:
        incoming, outgoing = run.take_over_pipes()
        run_loop(run.carry(plan, incoming, outgoing))
        # A keyring or browser in a thread of its own must not hold up the end.
        sys.stderr.flush()
        os._exit(0)
