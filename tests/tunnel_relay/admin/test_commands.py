"""Only listed commands, with arguments of the right kind."""

from inspect import signature
from pathlib import Path
from typing import Any

import pytest

from tests.tunnel_relay.making import an_admin, known
from tunnel_relay.admin.acting import actor
from tunnel_relay.admin.commands import COMMANDS, PROVEN, READS, Who, allows, run_command
from tunnel_relay.admin.service import Admin
from tunnel_relay.errors import Code, RelayError
from tunnel_relay.store.base import Role


async def test_a_command_runs_by_its_name(tmp_path: Path) -> None:
    async with an_admin(tmp_path) as admin:
        made = await run_command(admin, "tunnel_create", {"name": "office", "owner": "alice"})
        assert made["tunnel"]["name"] == "office"
        assert len(await run_command(admin, "tunnel_list", {})) == 1


@pytest.mark.parametrize(
    ("command", "arguments"),
    [
        ("enroll", {}),
        ("load", {}),
        ("__init__", {}),
        ("flush_last_used", {}),
        ("tunnel_create", {}),
        ("tunnel_create", {"name": 1, "owner": "a"}),
        ("tunnel_create", {"name": "a", "owner": "a", "extra": 1}),
        ("tunnel_rotate", {"name": "a", "drop_instances": "yes"}),
        ("session_create", {"user": "u", "agent": "a", "server": "a/b", "ttl": "8h"}),
    ],
)
async def test_anything_else_is_refused(
    tmp_path: Path, command: str, arguments: dict[str, Any]
) -> None:
    async with an_admin(tmp_path) as admin:
        with pytest.raises(RelayError) as caught:
            await run_command(admin, command, arguments)
        assert caught.value.code is Code.BAD_REQUEST


TAKING = {
    *("tunnel_disable", "tunnel_delete", "session_revoke", "lock_add", "user_disable"),
    *("user_token_revoke", "passkey_remove", "agent_disable", "approval_deny", "audit_verify"),
}
"""What takes away, or changes nothing that anybody may: it has to work at once, by any login."""


def test_what_is_no_reading_and_takes_nothing_away_takes_a_proof() -> None:
    """U17: a command that is new has to be one of these."""
    assert set(COMMANDS) == READS | PROVEN | TAKING
    assert not PROVEN & (READS | TAKING)


def test_every_listed_command_is_there() -> None:
    assert all(callable(getattr(Admin, command)) for command in COMMANDS)


def test_an_admin_may_all_and_nobody_else_more_than_is_written_down() -> None:
    for needed in Role:
        assert allows({Role.ADMIN}, needed)
        assert not allows((), needed)
        for role in (Role.USER, Role.AUDITOR, Role.APPROVER):
            assert allows({role}, needed) is (role is needed)


async def test_a_command_is_given_as_its_caller(tmp_path: Path) -> None:
    async with an_admin(tmp_path) as admin:
        ada = Who("ada", frozenset((Role.ADMIN,)))
        await run_command(admin, "tunnel_create", {"name": "office", "owner": "ada"}, ada)
        await known(admin, "bob")
        given = {"user": "bob", "agent": "bot", "server": "office/git"}
        made = await run_command(admin, "session_create", given, ada)
        assert made["session"]["granted_by"] == "ada"
        assert actor() == "operator"
        otto = Who("otto", frozenset((Role.AUDITOR,)))
        with pytest.raises(RelayError) as caught:
            await run_command(admin, "session_create", given, otto)
        assert caught.value.code is Code.ROLE_NEEDED


async def test_a_long_name_of_an_argument_is_not_repeated_whole(tmp_path: Path) -> None:
    async with an_admin(tmp_path) as admin:
        with pytest.raises(RelayError) as caught:
            await run_command(admin, "tunnel_list", {"x" * 10_000: 1})
        assert len(caught.value.message) <= 500


def test_u15_no_command_takes_an_address_or_a_program_to_call() -> None:
    """What is tested or reached is named by its registration; redirect URIs are never fetched."""
    names = {name for each in COMMANDS for name in signature(getattr(Admin, each)).parameters}
    assert names & {"redirect_uris", "server", "tunnel"}
    hints = ("url", "host", "command", "path", "address", "argv", "port", "origin")
    assert [name for name in names if any(hint in name for hint in hints)] == []
