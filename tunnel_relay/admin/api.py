"""The admin API: every command over HTTP, for scripts with a token and for the console's pages.

`POST /v1/COMMAND` with the arguments as a JSON object answers `{"result": ...}`, or
`{"error": {"code", "message", "next"}}` with a status that says what kind of refusal it is.
"""

import structlog
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from tunnel_relay.admin.answers import StatusError, media_type, problem, read_arguments
from tunnel_relay.admin.callers import Callers
from tunnel_relay.admin.commands import COMMANDS, run_command
from tunnel_relay.admin.openapi import openapi
from tunnel_relay.admin.service import Admin
from tunnel_relay.errors import RelayError

METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]
"""All are routed here, so that who is nobody learns nothing, not even what there is."""

log = structlog.get_logger("tunnel_relay.api")


class Api:
    """Answers `/v1/`; the caller's roles are looked up for every request."""

    def __init__(self, admin: Admin, callers: Callers) -> None:
        self._admin = admin
        self._callers = callers

    def routes(self) -> list[BaseRoute]:
        """Return what the API answers."""
        return [Route("/v1/{command:path}", self.answer, methods=METHODS)]

    async def answer(self, request: Request) -> Response:
        """Answer one request."""
        try:
            return await self._answer(request)
        except RelayError as error:
            return problem(error)

    async def _answer(self, request: Request) -> Response:
        command = request.path_params["command"]
        who = self._callers.of_api(request, command)
        if command == "openapi.json":
            _only("GET", request)
            return JSONResponse(openapi())
        if command not in COMMANDS:
            raise StatusError(404, "there is no such command")
        _only("POST", request)
        if media_type(request) != "application/json":
            raise StatusError(415, "send application/json")
        arguments = await read_arguments(request)
        return JSONResponse({"result": await run_command(self._admin, command, arguments, who)})


def _only(method: str, request: Request) -> None:
    if request.method != method:
        raise StatusError(405, f"use {method}", headers={"Allow": method})
