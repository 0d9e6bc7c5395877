"""Calls an Admin's method by its name with JSON arguments: the list of what may be called."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import ConfigDict, ValidationError, validate_call

from tunnel_relay.admin.acting import OPERATOR, acting
from tunnel_relay.admin.service import Admin
from tunnel_relay.admin.torn import refuse_torn
from tunnel_relay.errors import Code, RelayError
from tunnel_relay.store.base import Role, StoreError

MAX_PROBLEM = 500
"""Characters of what is wrong with the arguments: their names may be long."""

COMMANDS: dict[str, Role] = {
    "status": Role.AUDITOR,
    "tunnel_create": Role.ADMIN,
    "tunnel_list": Role.AUDITOR,
    "tunnel_show": Role.AUDITOR,
    "tunnel_disable": Role.ADMIN,
    "tunnel_enable": Role.ADMIN,
    "tunnel_rotate": Role.ADMIN,
    "tunnel_delete": Role.ADMIN,
    "session_create": Role.ADMIN,
    "session_list": Role.USER,
    "session_show": Role.USER,
    "session_revoke": Role.USER,
    "session_barred": Role.AUDITOR,
    "session_lift": Role.ADMIN,
    "lock_add": Role.ADMIN,
    "lock_list": Role.AUDITOR,
    "lock_remove": Role.ADMIN,
    "user_add": Role.ADMIN,
    "user_list": Role.AUDITOR,
    "user_show": Role.AUDITOR,
    "user_change": Role.ADMIN,
    "user_password": Role.ADMIN,
    "user_disable": Role.ADMIN,
    "user_enable": Role.ADMIN,
    "user_token": Role.ADMIN,
    "user_tokens": Role.AUDITOR,
    "user_token_revoke": Role.ADMIN,
    "passkey_add": Role.APPROVER,
    "passkey_list": Role.USER,
    "passkey_remove": Role.USER,
    "agent_add": Role.ADMIN,
    "agent_list": Role.AUDITOR,
    "agent_disable": Role.ADMIN,
    "agent_enable": Role.ADMIN,
    "tool_list": Role.AUDITOR,
    "tool_show": Role.AUDITOR,
    "policy_known": Role.AUDITOR,
    "policy_map": Role.AUDITOR,
    "report": Role.AUDITOR,
    "approval_list": Role.USER,
    "approval_show": Role.USER,
    "approval_approve": Role.APPROVER,
    "approval_deny": Role.APPROVER,
    "audit_query": Role.AUDITOR,
    "audit_show": Role.AUDITOR,
    "audit_replay": Role.AUDITOR,
    "audit_state": Role.AUDITOR,
    "audit_verify": Role.AUDITOR,
    "audit_checkpoint": Role.AUDITOR,
    "audit_purge_ask": Role.AUDITOR,
    "audit_purge_list": Role.AUDITOR,
    "audit_purge_confirm": Role.AUDITOR,
}
"""Every command, and the role it takes. Whose role is `user` gets to see only what is theirs.

One list for the admin API, the console and the control socket.
"""

DECISIONS = frozenset(("approval_approve", "approval_deny"))
"""What agents have no word in."""
GIVING = frozenset(
    {
        *("session_create", "session_lift", "lock_remove", "tunnel_create", "tunnel_rotate"),
        *("tunnel_enable", "user_add", "user_change", "user_password", "user_enable"),
        *("user_token", "agent_add", "agent_enable"),
    }
)
"""What gives somebody an identity or a right, or gives it back: it would outlive the login.

What may do both is here too, whatever it does this time: `user_change`, `tunnel_rotate`.
"""
PROVEN = GIVING | {"approval_approve", "passkey_add", "audit_purge_ask", "audit_purge_confirm"}
"""What takes a login that is not stale. For what only takes away, no login is too old."""

READS = frozenset(
    {
        *("status", "tunnel_list", "tunnel_show", "session_list", "session_show"),
        *("session_barred", "lock_list", "user_list", "user_show", "user_tokens", "agent_list"),
        *("tool_list", "tool_show", "policy_known", "policy_map", "approval_list"),
        *("approval_show", "passkey_list", "report"),
        *("audit_query", "audit_show", "audit_replay", "audit_state", "audit_checkpoint"),
        "audit_purge_list",
    }
)
"""What changes nothing; all else is written down before it is done, and after."""

ON_PAGE = frozenset(("passkey_add",))
"""What only a page of the console gives, for a browser that is logged in: no token, no operator."""

_STRICT = ConfigDict(strict=True, hide_input_in_errors=True)


@dataclass(frozen=True, slots=True)
class Who:
    """Whoever gives a command."""

    user: str
    roles: frozenset[Role]
    fresh: bool = True
    """False: by a login whose user has not proved who they are lately."""
    on_page: bool = False
    """By a page of the console, which looked at what the browser made."""


THE_OPERATOR = Who(OPERATOR, frozenset((Role.ADMIN,)))


def allows(roles: Collection[Role], needed: Role) -> bool:
    """Tell whether somebody of these roles may do what takes the role `needed`."""
    return Role.ADMIN in roles or needed in roles


async def run_command(
    admin: Admin, command: str, arguments: Mapping[str, Any], who: Who = THE_OPERATOR
) -> Any:
    """Return the command's answer; raises RelayError for every refusal, the store's included."""
    if command not in COMMANDS:
        raise RelayError(Code.BAD_REQUEST, "there is no such command")
    if not allows(who.roles, COMMANDS[command]):
        raise RelayError(Code.ROLE_NEEDED, f"{command} takes the role {COMMANDS[command]}")
    if command in ON_PAGE and not who.on_page:
        raise RelayError(Code.PAGE_NEEDED, f"{command} is given by a page of the console only")
    if command == "user_password" and arguments.get("user") == who.user and not who.on_page:
        # The page asks for the one of now: with a token, or a login that is open, it could be
        # exchanged for one that opens logins.
        raise RelayError(Code.PAGE_NEEDED, "your own password is set by a page of the console only")
    if command in PROVEN and not who.fresh:
        raise RelayError(Code.LOGIN_STALE, "prove once more that it is you, and do it again")
    refuse_torn(arguments)
    method = validate_call(config=_STRICT)(getattr(admin, command))
    try:
        with acting(who.user, who.roles):
            if command in READS:
                return await method(**arguments)
            return await _recorded(admin, command, method, arguments, who.user)
    except ValidationError as error:
        wrong = ", ".join(
            f"{'.'.join(map(str, detail['loc']))}: {detail['msg']}"
            for detail in error.errors(include_url=False, include_input=False)
        )
        raise RelayError(Code.BAD_REQUEST, wrong[:MAX_PROBLEM]) from None
    except StoreError as error:
        raise RelayError(Code.STORE_UNAVAILABLE, str(error)) from error


async def _recorded(
    admin: Admin, command: str, method: Any, arguments: Mapping[str, Any], by: str
) -> Any:
    await admin.records.asked(command, arguments, by)
    outcome = "failed"
    try:
        answer = await method(**arguments)
        outcome = "ok"
    except RelayError as error:
        outcome = error.code.value
        raise
    finally:
        admin.records.done(command, by, outcome)
    return answer
