"""The commands `tunnel-relay audit`: those of both programs, over this one's log."""

from pathlib import Path

from shared.audit_cli.group import audit_group
from shared.audit_cli.program import Program
from tunnel_relay.cli import config_option, read


def _folder(config: Path | None) -> Path:
    return read(config).audit_folder


def _refusal(text: str) -> Exception:
    from tunnel_relay.errors import Code, RelayError

    return RelayError(Code.AUDIT_UNREADABLE, text)


audit = audit_group(Program("tunnel-relay", config_option, _folder, _refusal))
