"""What is in the journal is what was meant, and nothing that is secret."""

import json
from pathlib import Path

import pytest

from tests.tunnel_relay.making import an_admin
from tunnel_relay.admin import changes
from tunnel_relay.store.base import Lock, LockKind, Role, User

ALL: list[changes.Known] = [
    changes.EndSessions("x", ("a" * 32, "b" * 32), 12.5, "left"),
    changes.DisableTunnel("office"),
    changes.DeleteTunnel("office"),
    changes.AddLock(Lock("l", LockKind.USER, "bob", "lost", 1.0, None)),
    changes.ChangeUser(User("bob", "Bob", 1.0, (Role.USER, Role.ADMIN), servers=("a/*",))),
    changes.DisableAgent("claude", 3.0),
    changes.RemovePasskey("a" * 32),
    changes.EndAdminTokens(("a" * 32,)),
]


@pytest.mark.parametrize("change", ALL, ids=lambda change: change.do)
def test_a_change_comes_back_as_it_was(change: changes.Known) -> None:
    written = json.loads(json.dumps(changes.to_json(change)))
    assert changes.from_json(written) == change


def test_a_password_stays_out_even_as_a_hash() -> None:
    user = User("bob", "Bob", 1.0, password="argon2-hash")
    assert "argon2-hash" not in json.dumps(changes.to_json(changes.ChangeUser(user)))


@pytest.mark.parametrize("values", [{}, {"do": "drop_everything"}, {"do": "disable_tunnel"}])
def test_what_is_not_a_change_is_refused_without_repeating_it(values: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="not a change"):
        changes.from_json({**values, "secret": "canary"})


async def test_a_changed_user_keeps_password_and_last_login(tmp_path: Path) -> None:
    async with an_admin(tmp_path) as admin:
        await admin.user_add("bob", servers=["office/git"])
        (before,) = await admin.store.users()
        kept = User("bob", "Bob", before.created, password="hash", last_login=7.0)
        await admin.store.put_user(kept)
        await changes.ChangeUser(User("bob", "Bob", 0.0, disabled=5.0)).store(admin.store)
        (after,) = await admin.store.users()
        assert (after.password, after.last_login) == ("hash", 7.0)
        assert (after.disabled, after.servers, after.created) == (5.0, (), before.created)
