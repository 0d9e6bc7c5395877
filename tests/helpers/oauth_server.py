"""A protected MCP endpoint and its authorization server, as strict as the RFCs and easy to bend.

`said` replaces parts of what it says of itself, by path. Nobody has to log in: the authorization
page sends the browser straight back.
"""

import asyncio
import base64
import hashlib
import secrets
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import urlencode

import anyio
import httpx2
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import Route

PRM = "/.well-known/oauth-protected-resource/mcp"
METADATA = "/.well-known/oauth-authorization-server"


class OAuthServer:
    """What it gave out, what it was asked, and what it is told to say instead of the truth."""

    def __init__(self, port: int) -> None:
        self.origin = f"http://127.0.0.1:{port}"
        self.said: dict[str, dict[str, Any]] = {}
        self.challenge: str | None = None
        self.codes: dict[str, dict[str, str]] = {}
        self.access: set[str] = set()
        self.refresh: dict[str, bool] = {}
        self.asked: list[tuple[str, dict[str, Any]]] = []
        self.expires_in = 3600
        self.denies = False
        self.token_status = 200
        self.revoke_status = 200
        self.no_registration: dict[str, str] | None = None
        """What it refuses registrations with."""
        self.before_revoking: Callable[[], None] = lambda: None
        self.hold: asyncio.Event | None = None

    @property
    def url(self) -> str:
        """The MCP endpoint."""
        return f"{self.origin}/mcp"

    def requests(self, kind: str) -> list[dict[str, Any]]:
        """Return what an endpoint was sent, by the last word of its path."""
        return [sent for path, sent in self.asked if path.endswith(kind)]

    def end_access(self) -> None:
        """Refuse every access token there is."""
        self.access.clear()

    def app(self) -> Starlette:
        """Return the routes."""
        return Starlette(
            routes=[
                Route("/mcp", self._mcp, methods=["POST", "GET", "DELETE"]),
                Route(PRM, self._resource),
                Route(METADATA, self._metadata),
                Route("/authorize", self._authorize),
                Route("/token", self._token, methods=["POST"]),
                Route("/register", self._register, methods=["POST"]),
                Route("/revoke", self._revoke, methods=["POST"]),
            ]
        )

    async def _mcp(self, request: Request) -> Response:
        token = request.headers.get("authorization", "").removeprefix("Bearer ")
        if token not in self.access:
            challenge = self.challenge or f'Bearer resource_metadata="{self.origin}{PRM}"'
            return Response(status_code=401, headers={"WWW-Authenticate": challenge})
        if request.method != "POST":
            return Response(status_code=405)
        message = await request.json()
        return JSONResponse({"jsonrpc": "2.0", "id": message.get("id"), "result": {}})

    def _tell(self, path: str, truth: dict[str, Any]) -> Response:
        told = {**truth, **self.said.get(path, {})}
        return JSONResponse({key: value for key, value in told.items() if value is not None})

    async def _resource(self, _: Request) -> Response:
        truth = {"resource": self.url, "authorization_servers": [self.origin]}
        return self._tell(PRM, truth)

    async def _metadata(self, _: Request) -> Response:
        truth = {
            "issuer": self.origin,
            "authorization_endpoint": f"{self.origin}/authorize",
            "token_endpoint": f"{self.origin}/token",
            "registration_endpoint": f"{self.origin}/register",
            "revocation_endpoint": f"{self.origin}/revoke",
            "code_challenge_methods_supported": ["S256"],
            "authorization_response_iss_parameter_supported": True,
        }
        return self._tell(METADATA, truth)

    async def _authorize(self, request: Request) -> Response:
        asked = dict(request.query_params)
        self.asked.append(("authorize", asked))
        code = secrets.token_urlsafe(16)
        self.codes[code] = asked
        answer = {"error": "access_denied"} if self.denies else {"code": code}
        answer |= {"state": asked["state"], "iss": self.origin, **self.said.get("authorize", {})}
        return RedirectResponse(f"{asked['redirect_uri']}?{urlencode(answer)}", 303)

    async def _token(self, request: Request) -> Response:
        form = {key: str(value) for key, value in (await request.form()).items()}
        self.asked.append(("token", form))
        if self.hold is not None:
            await self.hold.wait()
        if self.token_status != 200:
            return Response(status_code=self.token_status)
        good = self._code if form["grant_type"] == "authorization_code" else self._renewal
        if form.get("resource") != self.url or not good(form):
            return JSONResponse({"error": "invalid_grant"}, 400)
        access, refresh = secrets.token_urlsafe(16), secrets.token_urlsafe(16)
        self.access.add(access)
        self.refresh[refresh] = True
        told = {"access_token": access, "refresh_token": refresh, "token_type": "Bearer"}
        return JSONResponse({**told, "expires_in": self.expires_in})

    def _code(self, form: dict[str, str]) -> bool:
        asked = self.codes.pop(form["code"], None)
        digest = hashlib.sha256(form["code_verifier"].encode()).digest()
        shown = base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
        keys = ("client_id", "redirect_uri", "resource")
        return (
            asked is not None
            and asked["code_challenge"] == shown
            and all(asked[key] == form[key] for key in keys)
        )

    def _renewal(self, form: dict[str, str]) -> bool:
        """A refresh token that comes twice ends everything, as in OAuth 2.1."""
        fresh = self.refresh.get(form["refresh_token"])
        if fresh:
            self.refresh[form["refresh_token"]] = False
            return True
        if fresh is False:
            self.access.clear()
            self.refresh = dict.fromkeys(self.refresh, False)
        return False

    async def _register(self, request: Request) -> Response:
        self.asked.append(("register", await request.json()))
        if self.no_registration is not None:
            return JSONResponse(self.no_registration, 400)
        return JSONResponse({"client_id": f"dyn-{len(self.requests('register'))}"}, 201)

    async def _revoke(self, request: Request) -> Response:
        form = {key: str(value) for key, value in (await request.form()).items()}
        self.asked.append(("revoke", form))
        self.before_revoking()
        if self.revoke_status == 200:
            self.access.clear()
        return Response(status_code=self.revoke_status)


@asynccontextmanager
async def oauth_server() -> AsyncIterator[OAuthServer]:
    """Serve on loopback until the block ends."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(64)
        made = OAuthServer(listener.getsockname()[1])
        config = uvicorn.Config(made.app(), log_level="error", lifespan="off")
        server = uvicorn.Server(config)
        server.install_signal_handlers = lambda: None  # type: ignore[attr-defined]
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(server.serve, [listener])
            try:
                yield made
            finally:
                server.should_exit = True


async def visit(url: str) -> httpx2.Response:
    """Do what a browser does whose user only clicks through."""
    async with httpx2.AsyncClient(follow_redirects=True, trust_env=False) as http:
        return await http.get(url)
