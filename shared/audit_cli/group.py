"""Puts the commands together for one of the programs."""

import click

from shared.audit_cli.comparing import reconcile_command
from shared.audit_cli.exporting import export_command
from shared.audit_cli.looking import query_command, replay_command, tail_command
from shared.audit_cli.program import Program
from shared.audit_cli.proving import checkpoint_command, key_command, verify_command

_MAKERS = (
    *(verify_command, tail_command, query_command, replay_command),
    *(reconcile_command, export_command, checkpoint_command, key_command),
)


def audit_group(program: Program) -> click.Group:
    """Return the group `audit` of a program."""
    help_text = "Look at what was written down: calls before and after, and what bears on them."
    group = click.Group("audit", help=help_text)
    for make in _MAKERS:
        group.add_command(make(program))
    return group
