"""People, a session and a request for tests of approvals."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.helpers.passkeys import SoftPasskey
from tests.tunnel_relay.making import an_admin
from tunnel_relay.admin.commands import Who, run_command
from tunnel_relay.admin.service import Admin
from tunnel_relay.approvals.decide import Needs
from tunnel_relay.store.approvals import Approval
from tunnel_relay.store.base import Role, Session
from tunnel_relay.store.passkeys import OwnPasskey

SHA = "d" * 64
POLICY = "e" * 64
PARAMS = {"name": "send", "arguments": {"to": "a@example.com", "text": "hello"}}


def given_params() -> dict[str, Any]:
    """Return what another call of the same tool is made with."""
    return {"arguments": {"n": 1}}


def needs(**more: Any) -> Needs:
    given: dict[str, Any] = {
        "policy": POLICY,
        "rule": "mail leaves",
        "tool_class": "external_send",
        "definition": SHA,
        "groups": ("ops",),
        "users": (),
    }
    return Needs(**given | more)


@dataclass
class Office:
    """A relay where uma's bot may use office/mail, and pia and paul are asked."""

    admin: Admin
    session: Session

    async def ask(self, params: Any = PARAMS, *, tool: str = "send", **more: Any) -> Approval:
        return await self.admin.approvals.ask(self.session, tool, params, needs(**more))

    async def run(self, who: str, command: str, **arguments: Any) -> Any:
        user = self.admin.directory.users[who]
        as_user = Who(who, frozenset(user.roles) | {Role.USER})
        return await run_command(self.admin, command, arguments, as_user)

    async def approve(self, who: str, approval: Approval, **more: Any) -> Any:
        return await self.run(who, "approval_approve", approval=approval.id, **more)

    async def passkey(self, user: str, key: SoftPasskey) -> OwnPasskey:
        return await with_passkey(self.admin, user, key)

    async def another_session(self, user: str = "uma") -> Session:
        made = await self.admin.session_create(user, "bot", "office/mail")
        found = self.admin.sessions.get(made["session"]["id"])
        assert found is not None
        return found


async def listed(office: Office, who: str, **wanted: Any) -> list[dict[str, Any]]:
    """Return the requests that somebody sees, as the list shows them."""
    found: list[dict[str, Any]] = (await office.run(who, "approval_list", **wanted))["approvals"]
    return found


async def people(admin: Admin) -> None:
    """Add those who ask and those who are asked."""
    await admin.user_add("uma", roles=["user", "approver"], groups=["ops"])
    await admin.user_add("pia", roles=["approver"], groups=["ops"])
    await admin.user_add("paul", roles=["approver"], groups=["ops", "night"])
    await admin.user_add("eve", roles=["approver"], groups=["sales"])
    await admin.user_add("otto", roles=["auditor"], groups=["ops"])
    await admin.user_add("ada", roles=["admin"])


async def with_passkey(admin: Admin, user: str, key: SoftPasskey) -> OwnPasskey:
    """Register a passkey as the console's page does once it has looked at it."""
    text, who = key.public.text(), Who(user, frozenset((Role.APPROVER,)), on_page=True)
    given = {"name": "a key", "credential": "AAAA", "key": text}
    await run_command(admin, "passkey_add", given, who)
    found = admin.passkeys.find(user, text)
    assert found is not None
    return found


async def with_session(admin: Admin) -> Office:
    """Return the office with a session of uma's bot."""
    if not await admin.tunnel_list():
        await admin.tunnel_create("office", "ada")
    made = await admin.session_create("uma", "bot", "office/mail")
    session = admin.sessions.get(made["session"]["id"])
    assert session is not None
    return Office(admin, session)


@asynccontextmanager
async def an_office(folder: Path) -> AsyncIterator[Office]:
    async with an_admin(folder) as admin:
        await people(admin)
        yield await with_session(admin)
