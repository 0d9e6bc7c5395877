"""`GET /metrics` of the admin listener, for a Prometheus with an admin token of an auditor."""

from prometheus_client import CONTENT_TYPE_LATEST
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from tunnel_relay.admin.answers import problem
from tunnel_relay.admin.callers import Callers
from tunnel_relay.admin.commands import allows
from tunnel_relay.errors import Code, RelayError
from tunnel_relay.metrics import Metrics
from tunnel_relay.store.base import Role


def metrics_route(metrics: Metrics, callers: Callers) -> Route:
    """Return the route; the caller's role is looked up for every request, as for a command."""

    async def answer(request: Request) -> Response:
        try:
            who = callers.of_api(request)
            if not allows(who.roles, Role.AUDITOR):
                raise RelayError(Code.ROLE_NEEDED, f"metrics take the role {Role.AUDITOR}")
        except RelayError as error:
            return problem(error)
        return Response(metrics.text(), headers={"Content-Type": CONTENT_TYPE_LATEST})

    return Route("/metrics", answer, methods=["GET"])
