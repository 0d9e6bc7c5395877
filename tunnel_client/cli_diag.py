"""The command `tunnel-client diag`."""

import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tunnel_client.cli_options import config_option, look_at, quiet

if TYPE_CHECKING:
    from shared.diag import Bundle
    from tunnel_client.settings import ClientSettings

_SHORTEST = 6
"""Characters; what is shorter occurs by chance in every text."""


@click.command()
@config_option
@click.option("--output", type=click.Path(path_type=Path, dir_okay=False), help="The new file.")
@click.option("--with-policy", is_flag=True, help="Put the policy in, without its comments.")
def diag(config: Path | None, output: Path | None, with_policy: bool) -> None:
    """Write one redacted archive for whoever helps, and say what is in it.

    What cannot be had is named in its manifest, and stops nothing else.
    """
    from shared.diag import Bundle, facts, told, write_archive
    from tunnel_client.doctor.errors import DiagUnwritableError
    from tunnel_client.errors import ClientError

    quiet()
    now = int(time.time())
    stem = time.strftime("tunnel-client-diag-%Y%m%dT%H%M%SZ", time.gmtime(now))
    path = output or Path(f"{stem}.tar.gz")
    bundle = Bundle(facts("tunnel-client", time.strftime("%FT%TZ", time.gmtime(now))))
    try:
        settings = look_at(config)
    except ClientError as error:
        bundle.add("config.json", "the configuration", "secrets", _raising(error))
    else:
        _collect(bundle, settings, with_policy)
    try:
        write_archive(path, bundle.archive(stem, now))
    except OSError as error:
        raise DiagUnwritableError(f"{path}: {error.strerror or error}") from None
    click.echo(told(path, bundle))


def _raising(error: Exception) -> Any:
    def make() -> Any:
        raise error

    return make


def _collect(bundle: "Bundle", settings: "ClientSettings", with_policy: bool) -> None:
    from shared.diag import add_log, policy_facts, without_comments
    from tunnel_client.control import ask_status, ask_tasks
    from tunnel_client.credentials.scrub import Scrubber
    from tunnel_client.policy.load import read_policy_text

    bundle.clean = Scrubber(_secrets(settings)).clean
    state = settings.state_dir
    secrets = "known secrets, random-looking words, logins and queries of URLs"
    arguments = f"{secrets}, arguments and environment of programs"
    bundle.add("config.json", "the configuration", arguments, lambda: settings)

    def policy() -> Any:
        return policy_facts(read_policy_text(settings.policy))

    bundle.add("policy.json", "digest and number of rules of the policy", "its text", policy)
    if with_policy:
        text = "the policy, as asked for"
        bundle.add(
            *("policy.yaml", text, f"comments, {secrets}"),
            lambda: without_comments(read_policy_text(settings.policy)),
        )
    status = "status --json: links, reconnects, upstreams, catalogue, sandbox"
    bundle.add("status.json", status, secrets, lambda: ask_status(state))
    bundle.add(
        "tasks.json", "tasks of the daemon and where each waits", "locals", lambda: ask_tasks(state)
    )
    bundle.add("doctor.json", "doctor --json", secrets, lambda: _doctor(settings))
    add_log(bundle, settings.audit_folder)
    sizes = "files of the state folder, in bytes"
    bundle.add("files.json", sizes, "contents", lambda: _sizes(state))


def _doctor(settings: "ClientSettings") -> Any:
    from shared.checkup import summary
    from shared.link import loop
    from tunnel_client.doctor.table import examine

    lines: list[Any] = []

    async def all_lines() -> None:
        async for line in examine(settings, os.environ):
            lines.append(line)

    loop.run(all_lines())
    return summary(lines)


def _sizes(folder: Path) -> dict[str, int]:
    return {each.name: each.lstat().st_size for each in sorted(folder.iterdir())}


def _secrets(settings: "ClientSettings") -> set[str]:
    """Return what the configuration points to and can be read here, and the parts of logins."""
    from tunnel_client.errors import ClientError
    from tunnel_client.references import references
    from tunnel_client.settings import read_secret

    found: set[str] = set()
    for reference in references(settings):
        try:
            text = read_secret(reference, os.environ).get_secret_value()
        except (ClientError, OSError, UnicodeDecodeError):
            continue  # what cannot be read here is in no member either
        found |= {text, *text.split(":", 1), *text.splitlines()}
    return {each for each in found if len(each) >= _SHORTEST}
