"""`POST /tunnel/enroll`: a join code and a public key in, the relay's public key out.

Every refusal of a code is the same 401, so that nobody learns which codes exist.
"""

import math
import time
from collections.abc import Callable, Mapping
from typing import Protocol

import anyio
import jiter
import structlog
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from shared.audit.events import note
from tunnel_relay.errors import Code, RelayError
from tunnel_relay.ratelimit import RateLimit, address_key
from tunnel_relay.store.base import StoreError

PATH = "/tunnel/enroll"
MAX_BODY_BYTES = 4096
READ_DEADLINE = 10.0
BURST = 5
log = structlog.get_logger("tunnel_relay.enrolment")


class Enroller(Protocol):
    """What enrols; `tunnel_relay.admin.service.Admin` does."""

    async def enroll(
        self, join_code: str, public_key: str, instance: str, origin: str, host: Mapping[str, str]
    ) -> dict[str, str]:
        """See `tunnel_relay.admin.admission.Admissions.enroll`."""


class Host(BaseModel):
    """What a client says about its machine; shown to people, believed by nobody."""

    model_config = ConfigDict(extra="ignore", strict=True, hide_input_in_errors=True)

    name: str = Field(default="", max_length=255)
    platform: str = Field(default="", max_length=255)
    version: str = Field(default="", max_length=64)


class JoinRequest(BaseModel):
    """The body of the request."""

    model_config = ConfigDict(extra="forbid", strict=True, hide_input_in_errors=True)

    join_code: str = Field(max_length=128)
    public_key: str = Field(max_length=64)
    instance: str = Field(max_length=64)
    origin: str = Field(max_length=300)
    host: Host = Host()


class Enrolment:
    """Answers the endpoint; give `route` to Starlette or `handle` a request."""

    def __init__(
        self,
        enroller: Enroller,
        *,
        per_minute: int = 10,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._enroller = enroller
        self._limit = RateLimit(per_minute / 60, min(BURST, per_minute))
        self._clock = clock

    @property
    def route(self) -> Route:
        """The Starlette route."""
        return Route(PATH, self.handle, methods=["POST"])

    async def handle(self, request: Request) -> Response:
        """Answer one request: 200, 400, 401, 403, 408, 413, 429 or 503."""
        address = request.client.host if request.client else ""
        wait = self._limit.take(address_key(address), self._clock())
        if wait:
            log.warning("enrolment_limited", address=address)
            note("enrolment.refused", source=address, reason="too many attempts")
            return _refuse(429, "too many attempts", {"Retry-After": str(math.ceil(wait))})
        if "origin" in request.headers:
            # Clients are programs; a browser here is a web page trying its luck.
            return _refuse(403, "not from a browser")
        try:
            with anyio.fail_after(READ_DEADLINE):
                body = await _read(request)
        except TimeoutError:
            return _refuse(408, "the request did not arrive in time", {"Connection": "close"})
        if body is None:
            return _refuse(413, "the request is too large", {"Connection": "close"})
        return await self._join(body)

    async def _join(self, body: bytes) -> Response:
        try:
            parsed = jiter.from_json(body, catch_duplicate_keys=True, allow_inf_nan=False)
            wanted = JoinRequest.model_validate(parsed)
        except (ValidationError, ValueError):
            return _refuse(400, "malformed request")
        try:
            answer = await self._enroller.enroll(
                wanted.join_code,
                wanted.public_key,
                wanted.instance,
                wanted.origin,
                wanted.host.model_dump(),
            )
        except RelayError as error:
            if error.code is Code.JOIN_REFUSED:
                return _refuse(401, "the join code was not accepted")
            return _refuse(400, error.message)
        except StoreError as error:
            log.error("enrolment_failed", code=Code.STORE_UNAVAILABLE, error=str(error))
            return _refuse(503, "try again later", {"Retry-After": "5"})
        return JSONResponse(answer, headers=_NO_STORE)


_NO_STORE = {"Cache-Control": "no-store"}


def _refuse(status: int, message: str, headers: Mapping[str, str] | None = None) -> Response:
    return JSONResponse({"error": message}, status, {**_NO_STORE, **(headers or {})})


async def _read(request: Request) -> bytes | None:
    """Return the body, None when it is too large; nothing beyond the cap is kept."""
    body = b""
    try:
        async for chunk in request.stream():
            body += chunk
            if len(body) > MAX_BODY_BYTES:
                return None
    except ClientDisconnect:
        return b""
    return body
