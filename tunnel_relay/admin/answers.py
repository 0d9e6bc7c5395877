"""How commands are asked for and refused over HTTP: JSON in, JSON out, a status for each code."""

import math
from collections.abc import Mapping
from typing import Any

import anyio
import jiter
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse

from tunnel_relay.errors import Code, RelayError

MAX_REQUEST_BYTES = 64 * 1024
READ_DEADLINE = 10.0

STATUSES = {
    Code.STORE_UNAVAILABLE: 503,
    Code.RELAY_SILENT: 503,
    Code.STATE_IN_USE: 503,
    Code.NOT_YET_STORED: 503,
    Code.NOT_PERMITTED: 403,
    Code.ROLE_NEEDED: 403,
    Code.FOREIGN_PAGE: 403,
    Code.JOIN_REFUSED: 403,
    Code.LOGIN_NEEDED: 401,
    Code.TUNNEL_UNKNOWN: 404,
    Code.SESSION_UNKNOWN: 404,
    Code.LOCK_UNKNOWN: 404,
    Code.USER_UNKNOWN: 404,
    Code.TOOL_UNKNOWN: 404,
    Code.AGENT_UNKNOWN: 404,
    Code.TOKEN_UNKNOWN: 404,
    Code.TUNNEL_EXISTS: 409,
    Code.USER_EXISTS: 409,
    Code.AGENT_EXISTS: 409,
    Code.CHANGED_MEANWHILE: 409,
    Code.USER_DISABLED: 409,
    Code.LOCKED: 409,
    Code.INSTANCE_LOCKED: 409,
    Code.LAST_ADMIN: 409,
    Code.APPROVAL_UNKNOWN: 404,
    Code.APPROVER_NEEDED: 403,
    Code.OWN_REQUEST: 403,
    Code.APPROVAL_OVER: 409,
    Code.SIGNATURE_NEEDED: 403,
    Code.LOGIN_STALE: 403,
    Code.PAGE_NEEDED: 403,
    Code.PASSKEY_UNKNOWN: 404,
    Code.AGENT_TOKEN: 403,
    Code.RECORD_UNKNOWN: 404,
    Code.PURGE_UNKNOWN: 404,
    Code.SECOND_PERSON: 403,
    Code.PURGE_REFUSED: 409,
    Code.AUDIT_FAILING: 503,
}
"""HTTP status of a refusal; 400 for what is not listed."""


class StatusError(RelayError):
    """A refusal that HTTP has a status of its own for, with the header fields that go with it."""

    def __init__(
        self,
        status: int,
        message: str,
        *,
        code: Code = Code.BAD_REQUEST,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(code, message)
        self.status = status
        self.headers = dict(headers or {})


def too_many(wait: float, message: str) -> StatusError:
    """Return a refusal for `wait` more seconds."""
    after = {"Retry-After": str(math.ceil(wait))}
    return StatusError(429, message, code=Code.LOGIN_NEEDED, headers=after)


def status_of(error: RelayError) -> int:
    """Return the HTTP status of a refusal."""
    return error.status if isinstance(error, StatusError) else STATUSES.get(error.code, 400)


def problem(error: RelayError, status: int | None = None) -> JSONResponse:
    """Return a refusal as JSON."""
    shown = {"code": error.code, "message": error.message, "next": error.explained.next}
    headers = error.headers if isinstance(error, StatusError) else {}
    return JSONResponse({"error": shown}, status or status_of(error), headers)


async def read_body(request: Request) -> bytes:
    """Return the body; raises StatusError 413 or 408, and keeps nothing beyond the cap."""
    body = bytearray()
    try:
        with anyio.fail_after(READ_DEADLINE):
            async for chunk in request.stream():
                body += chunk
                if len(body) > MAX_REQUEST_BYTES:
                    close = {"Connection": "close"}
                    raise StatusError(413, "the request is too large", headers=close)
    except TimeoutError:
        raise StatusError(
            408, "the request did not arrive in time", headers={"Connection": "close"}
        ) from None
    except ClientDisconnect:
        return b""
    return bytes(body)


async def read_arguments(request: Request) -> dict[str, Any]:
    """Return the JSON object in the body; raises StatusError."""
    body = await read_body(request)
    try:
        arguments = jiter.from_json(body, catch_duplicate_keys=True, allow_inf_nan=False)
    except ValueError:
        arguments = None
    if not isinstance(arguments, dict):
        raise StatusError(400, "the request is not a JSON object")
    return arguments


def media_type(request: Request) -> str:
    """Return the type of the body without its parameters."""
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()
