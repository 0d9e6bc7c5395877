"""Whatever stands in a command's arguments, the answer is JSON or a refusal, never a fault."""

import contextlib
import json
from collections.abc import Iterator
from inspect import Parameter, signature
from pathlib import Path
from typing import Any

import pytest

from tests.tunnel_relay.making import an_admin
from tunnel_relay.admin.commands import COMMANDS, Who, run_command
from tunnel_relay.admin.service import Admin
from tunnel_relay.errors import RelayError
from tunnel_relay.store.base import Role

TORN = "\ud800"
ODD: tuple[Any, ...] = (
    *(10**30, -(10**30), 2**63, -1, 0, 1.5, 1e300, float("nan"), float("inf")),
    *(TORN, "", "\0", "x" * 2**20, [TORN], [10**30], {TORN: 1}),
)
NEEDED = {
    "agent": "bot",
    "before": 1.0,
    "kind": "user",
    "name": "office",
    "owner": "uma",
    "reason": "why",
    "seq": 0,
    "server": "office/git",
    "session": "ab" * 16,
    "tunnel": "office",
    "user": "uma",
}
"""What is plain, for arguments that have to be given beside the odd one."""
ALL = Who("ada", frozenset(Role), on_page=True)


def questions(command: str) -> Iterator[dict[str, Any]]:
    """Yield the arguments of a command, one of which is odd."""
    known = dict(signature(getattr(Admin, command)).parameters)
    del known["self"]
    needed = [name for name, each in known.items() if each.default is Parameter.empty]
    plain = {name: NEEDED.get(name, "x") for name in needed}
    for name in known:
        yield from ({**plain, name: odd} for odd in ODD)


@pytest.mark.parametrize("command", COMMANDS)
async def test_no_argument_makes_a_command_fail(tmp_path: Path, command: str) -> None:
    async with an_admin(tmp_path) as admin:
        await admin.person("uma", "the user")
        for given in questions(command):
            with contextlib.suppress(RelayError):
                answer = await run_command(admin, command, given, ALL)
                assert TORN not in json.dumps(given, ensure_ascii=False)
                json.dumps(answer, allow_nan=False)
