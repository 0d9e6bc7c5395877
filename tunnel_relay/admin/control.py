"""The running relay's ear for commands: JSON over a Unix socket that only its user can open.

`POST /v1/COMMAND` with the arguments as an object answers `{"result": ...}` or
`{"error": {"code", "message", "next"}}`. Who may open the socket may do everything.
"""

import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from shared.tasklist import tasks
from tunnel_relay.admin.answers import problem, read_arguments
from tunnel_relay.admin.commands import run_command
from tunnel_relay.admin.service import Admin
from tunnel_relay.errors import RelayError
from tunnel_relay.server import QuietServer

STOP_DEADLINE = 5.0


def control_app(admin: Admin) -> Starlette:
    """Return the ASGI application behind the socket."""

    async def run(request: Request) -> JSONResponse:
        try:
            arguments = await read_arguments(request)
            result = await run_command(admin, request.path_params["command"], arguments)
        except RelayError as error:
            return problem(error, 400)
        return JSONResponse({"result": result})

    async def where(_: Request) -> JSONResponse:
        return JSONResponse({"result": {"tasks": tasks()}})

    named = Route("/v1/tasks", where, methods=["POST"])
    return Starlette(routes=[named, Route("/v1/{command}", run, methods=["POST"])])


@asynccontextmanager
async def serve_control(admin: Admin, path: Path) -> AsyncIterator[None]:
    """Answer commands on `path` while the context is open; the caller holds the state's lock."""
    listener = bind_control(path)
    server = QuietServer(
        uvicorn.Config(
            control_app(admin), log_config=None, access_log=False, lifespan="off", ws="none"
        )
    )
    try:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(server.serve, [listener])
            try:
                yield
            finally:
                server.stop()
                tasks.cancel_scope.deadline = anyio.current_time() + STOP_DEADLINE
    finally:
        listener.close()
        _remove(path)


def bind_control(path: Path) -> socket.socket:
    """Listen on a fresh socket of mode 0600; one left behind by a dead relay is replaced."""
    _remove(path)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        # The folder is 0700 already, so that nobody can connect before the mode is set.
        listener.bind(str(path))
        path.chmod(0o600)
        listener.listen(16)
        listener.setblocking(False)
    except BaseException:
        listener.close()
        raise
    return listener


def _remove(path: Path) -> None:
    path.unlink(missing_ok=True)
