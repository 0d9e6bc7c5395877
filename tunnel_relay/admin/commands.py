"""Calls an Admin's method by its name with JSON arguments: the list of what may be called."""

from collections.abc import Mapping
from typing import Any

from pydantic import ConfigDict, ValidationError, validate_call

from tunnel_relay.admin.service import Admin
from tunnel_relay.errors import Code, RelayError
from tunnel_relay.store.base import StoreError

COMMANDS = frozenset(
    {
        "status",
        "tunnel_create",
        "tunnel_list",
        "tunnel_show",
        "tunnel_disable",
        "tunnel_enable",
        "tunnel_rotate",
        "tunnel_delete",
        "session_create",
        "session_list",
        "session_show",
        "session_revoke",
        "lock_add",
        "lock_list",
        "lock_remove",
    }
)
_STRICT = ConfigDict(strict=True, hide_input_in_errors=True)


async def run_command(admin: Admin, command: str, arguments: Mapping[str, Any]) -> Any:
    """Return the command's answer; raises RelayError for every refusal, the store's included."""
    if command not in COMMANDS:
        raise RelayError(Code.BAD_REQUEST, "there is no such command")
    method = validate_call(config=_STRICT)(getattr(admin, command))
    try:
        return await method(**arguments)
    except ValidationError as error:
        wrong = ", ".join(
            f"{'.'.join(map(str, detail['loc']))}: {detail['msg']}"
            for detail in error.errors(include_url=False, include_input=False)
        )
        raise RelayError(Code.BAD_REQUEST, wrong) from None
    except StoreError as error:
        raise RelayError(Code.STORE_UNAVAILABLE, str(error)) from error
