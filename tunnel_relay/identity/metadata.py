"""Serves the documents by which agents find out where to log in (RFC 9728, RFC 8414).

They are public, and the same for a server that exists and for one that does not.
"""

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from tunnel_relay.identity.resources import (
    PRM,
    SERVER_PATH,
    origins_by_host,
    resource_metadata,
    server_metadata,
)
from tunnel_relay.identity.shared_routes import shared_route
from tunnel_relay.settings import Settings

SERVER = "/.well-known/oauth-authorization-server"
_KEPT = {"Cache-Control": "public, max-age=300"}


class Metadata:
    """The documents of one relay.

    There is none for the relay as a whole: an agent would take the relay for the resource, and a
    token is good for one server.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._origins = origins_by_host(settings.public_url)

    @property
    def routes(self) -> list[Route]:
        """The routes; none where nobody can log in."""
        routes = []
        if self._settings.authorization_servers:
            path = PRM + "/t/{tunnel}/{upstream}/mcp"
            routes.append(shared_route(path, self._resource, "GET"))
        if self._settings.oauth.enabled:
            routes.append(shared_route(SERVER, self._server, "GET"))
        return routes

    async def _resource(self, request: Request) -> Response:
        path = request.url.path.removeprefix(PRM)
        origin = self._origins.get(request.headers.get("host", "").lower())
        if origin is None or not SERVER_PATH.fullmatch(path):
            return JSONResponse({"error": "not_found"}, 404)
        described = resource_metadata(
            origin + path, self._settings.authorization_servers, self._settings.scopes
        )
        return JSONResponse(described, headers=_KEPT)

    async def _server(self, _request: Request) -> Response:
        oauth = self._settings.oauth
        described = server_metadata(
            self._settings.public_url[0],
            registration=oauth.dynamic_registration,
            documents=oauth.metadata_documents,
        )
        return JSONResponse(described, headers=_KEPT)
