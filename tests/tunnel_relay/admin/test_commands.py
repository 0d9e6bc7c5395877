"""Only listed commands, with arguments of the right kind."""

from pathlib import Path
from typing import Any

import pytest

from tests.tunnel_relay.making import an_admin
from tunnel_relay.admin.commands import COMMANDS, run_command
from tunnel_relay.admin.service import Admin
from tunnel_relay.errors import Code, RelayError


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


def test_every_listed_command_is_there() -> None:
    assert all(callable(getattr(Admin, command)) for command in COMMANDS)
