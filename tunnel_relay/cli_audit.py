"""The commands `tunnel-relay audit`: those of both programs, over this one's log, and `purge`."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from shared.audit_cli.group import audit_group
from shared.audit_cli.program import Program
from tunnel_relay.cli import answer, config_option, look_at
from tunnel_relay.cli_approvals import give, reachable


def _folder(config: Path | None) -> Path:
    return look_at(config).audit_folder


def _refusal(text: str) -> Exception:
    from tunnel_relay.errors import Code, RelayError

    return RelayError(Code.AUDIT_UNREADABLE, text)


def _no_checkpoint(text: str) -> Exception:
    from tunnel_relay.errors import Code, RelayError

    return RelayError(Code.CHECKPOINT_UNUSABLE, text)


def _mixed(text: str) -> Exception:
    from tunnel_relay.errors import Code, RelayError

    return RelayError(Code.LOGS_MIXED, text)


def _unknown(text: str) -> Exception:
    from tunnel_relay.errors import Code, RelayError

    return RelayError(Code.AUDIT_UNREADABLE, text, then="tunnel-relay session list --all")


REFUSALS = _refusal, _no_checkpoint, _mixed, _unknown
PROGRAM = Program("tunnel-relay", config_option, _folder, *REFUSALS)
audit = audit_group(PROGRAM)


@audit.command("purge")
@reachable
@click.option("--before", type=click.DateTime(), help="UTC; files with only older records go.")
@click.option("--reason", help="For the record.")
@click.option("--confirm", metavar="ID", help="Agree to what somebody else asked for.")
def audit_purge(
    config: Path | None,
    as_json: bool,
    before: datetime | None,
    reason: str | None,
    confirm: str | None,
    **how: Any,
) -> None:
    """Have old records removed; it takes two people, each with --token.

    One gives --before and --reason, another one --confirm within an hour. Without any of these
    it lists what waits. What audit.keep_days says is kept whoever asks.
    """
    if confirm is not None and before is None and reason is None:
        done = give(config, how, "audit_purge_confirm", purge_id=confirm)
        said = f"{done['segments']} files removed; record {done['first_left']} is the first left"
    elif confirm is None and before is not None and reason:
        when = before.replace(tzinfo=UTC).timestamp()
        done = give(config, how, "audit_purge_ask", before=when, reason=reason)
        agree = f"tunnel-relay audit purge --confirm {done['id']} --token REF"
        said = f"asked for; within an hour somebody else agrees with:\n  {agree}"
    elif confirm is None and before is None and reason is None:
        done = {"waiting": give(config, how, "audit_purge_list")}
        lines = [_line(each) for each in done["waiting"]]
        said = "\n".join(lines) or "nothing waits"
    else:
        raise click.UsageError("give --before and --reason, or --confirm alone")
    if as_json:
        answer(done)
    else:
        click.echo(said)


def _line(wish: dict[str, Any]) -> str:
    from shared.escape import one_line

    when = datetime.fromtimestamp(wish["before"], UTC)
    said = f"{wish['by']}: {wish['reason']}"
    return one_line(f"{wish['id']}  before {when:%Y-%m-%dT%H:%M}Z  {said}", 400)
