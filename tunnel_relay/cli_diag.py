"""The command `tunnel-relay diag`."""

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tunnel_relay.cli import config_option
from tunnel_relay.errors import FAILED

if TYPE_CHECKING:
    from shared.diag import Bundle
    from tunnel_relay.settings import Settings


@click.command()
@config_option
@click.option("--output", type=click.Path(path_type=Path, dir_okay=False), help="The new file.")
@click.option("--with-policy", is_flag=True, help="Put the policy in, without its comments.")
def diag(config: Path | None, output: Path | None, with_policy: bool) -> None:
    """Write one redacted archive for whoever helps, and say what is in it; changes nothing.

    What cannot be had is named in its manifest, and stops nothing else.
    """
    from shared.diag import Bundle, facts, told, write_archive
    from tunnel_relay.cli import look_at
    from tunnel_relay.doctor.findings import FINDINGS, Finding

    now = int(time.time())
    stem = time.strftime("tunnel-relay-diag-%Y%m%dT%H%M%SZ", time.gmtime(now))
    path = output or Path(f"{stem}.tar.gz")
    bundle = Bundle(facts("tunnel-relay", time.strftime("%FT%TZ", time.gmtime(now))))
    held: list[Settings] = []

    def read() -> Any:
        held.append(look_at(config))
        return held[0]

    bundle.add("config.json", "the configuration", "secrets, random-looking words", read)
    bundle.add("doctor.json", "doctor --json", "random-looking words", lambda: _doctor(config))
    if held:
        _collect(bundle, held[0], with_policy)
    try:
        write_archive(path, bundle.archive(stem, now))
    except OSError as error:
        code = Finding.DIAG_UNWRITABLE
        click.echo(f"{code}: {path}: {error.strerror or error}", err=True)
        click.echo(f"next: {FINDINGS[code].next}", err=True)
        sys.exit(FAILED)
    click.echo(told(path, bundle))


def _collect(bundle: "Bundle", settings: "Settings", with_policy: bool) -> None:
    from shared.diag import add_log, policy_facts, without_comments
    from tunnel_relay.admin.call import call_control

    def asked(command: str) -> Any:
        return call_control(settings.control_socket, command, {})

    def policy() -> str:
        assert settings.policy is not None  # noqa: S101 - read_settings sets it
        return settings.policy.read_text()

    words = "random-looking words, logins and queries of URLs"
    bundle.add("status.json", "status --json of the running relay", words, lambda: asked("status"))
    bundle.add("tasks.json", "tasks and where each waits", "locals", lambda: asked("tasks"))
    digest = "digest and number of rules of the policy"
    bundle.add("policy.json", digest, "its text", lambda: policy_facts(policy()))
    if with_policy:
        text = "the policy, as asked for"
        bundle.add("policy.yaml", text, "comments", lambda: without_comments(policy()))
    add_log(bundle, settings.audit_folder)
    store = "revision and number of rows of the store, sizes of files"
    bundle.add("store.json", store, "contents", lambda: _store(settings))


def _doctor(config: Path | None) -> Any:
    import asyncio

    from shared.checkup import Line, summary
    from tunnel_relay.cli_doctor import examined

    lines: list[Line] = []

    async def all_lines() -> None:
        async for line in examined(config):
            lines.append(line)

    asyncio.run(all_lines())
    return summary(lines)


def _store(settings: "Settings") -> Any:
    import contextlib
    import sqlite3

    sizes = {each.name: each.lstat().st_size for each in sorted(settings.state_dir.iterdir())}
    uri = f"{settings.database.absolute().as_uri()}?mode=ro"
    with contextlib.closing(sqlite3.connect(uri, uri=True, timeout=5.0)) as db:
        names = [row[0] for row in db.execute("select name from sqlite_master where type='table'")]
        quoted = [(name, name.replace('"', '""')) for name in names]
        rows = {
            name: db.execute(f'select count(*) from "{word}"').fetchone()[0]  # noqa: S608
            for name, word in quoted
        }
        revision = [row[0] for row in db.execute("select version_num from alembic_version")]
    return {"revision": revision, "rows": rows, "bytes": sizes}
