"""The commands `tunnel-client audit`: those of both programs, over this one's log."""

from pathlib import Path

from shared.audit_cli.group import audit_group
from shared.audit_cli.program import Program
from tunnel_client.cli_options import config_option, look_at


def _folder(config: Path | None) -> Path:
    return look_at(config).audit_folder


def _refusal(text: str) -> Exception:
    from tunnel_client.errors import AuditUnreadableError

    return AuditUnreadableError(text)


def _no_checkpoint(text: str) -> Exception:
    from tunnel_client.errors import CheckpointUnusableError

    return CheckpointUnusableError(text)


def _mixed(text: str) -> Exception:
    from tunnel_client.errors import LogsMixedError

    return LogsMixedError(text)


def _unknown(text: str) -> Exception:
    from tunnel_client.errors import AuditUnreadableError

    return AuditUnreadableError(text, "on the relay: tunnel-relay session list --all")


REFUSALS = _refusal, _no_checkpoint, _mixed, _unknown
PROGRAM = Program("tunnel-client", config_option, _folder, *REFUSALS)
audit = audit_group(PROGRAM)


@audit.command("purge")
def audit_purge() -> None:
    """Refused: it takes two people, and nothing on this machine tells them apart."""
    from tunnel_client.errors import AuditPurgeError

    raise AuditPurgeError("records of a client are not removed by command")
