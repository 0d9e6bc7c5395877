"""Routes whose answers pages of other origins may read (CORS)."""

from collections.abc import Awaitable, Callable, Container

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

Handler = Callable[[Request], Awaitable[Response]]


def shared_route(
    path: str, handle: Handler, method: str, origins: Container[str] | None = None
) -> Route:
    """Return a route that pages of `origins` may use; None: of any, for what is public anyway.

    No cookie is ever let along, so a page gets nothing that a program would not.
    """

    async def serve(request: Request) -> Response:
        if request.method == "OPTIONS":
            answer = Response(status_code=204)
        else:
            answer = await handle(request)
        origin = request.headers.get("origin")
        if origins is None:
            answer.headers.update(_sharing("*", method))
        elif origin is not None and origin in origins:
            answer.headers.update(_sharing(origin, method))
            answer.headers.append("Vary", "Origin")
        return answer

    return Route(path, serve, methods=[method, "OPTIONS"])


def _sharing(origin: str, method: str) -> dict[str, str]:
    return {
        "Access-Control-Allow-Origin": origin,
        "Access-Control-Allow-Methods": method,
        "Access-Control-Allow-Headers": "authorization, content-type, mcp-protocol-version",
        "Access-Control-Max-Age": "600",
    }
