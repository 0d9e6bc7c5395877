"""Renders pages; every one of them leaves with the same strict headers.

No inline script or style, no foreign origin, no framing, nothing cached. Jinja escapes what it is
given, so names and reasons are text whatever they hold.
"""

from datetime import UTC, datetime
from importlib.resources import files
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from tunnel_relay.approvals.shown import visible
from tunnel_relay.durations import format_duration
from tunnel_relay.render import session_end, when
from tunnel_relay.render_approvals import approval_end

STATIC = {
    "style.css": "text/css; charset=utf-8",
    "console.css": "text/css; charset=utf-8",
    "htmx.min.js": "text/javascript; charset=utf-8",
    "htmx.LICENSE.txt": "text/plain; charset=utf-8",
    "passkey.js": "text/javascript; charset=utf-8",
    "icon.svg": "image/svg+xml",
}
"""The files that are served, and as what; a name that is not here is a 404, whatever it spells."""


def iso(at: float) -> str:
    """Write a time as people and browsers both read it: `2026-11-22 09:30:05Z`."""
    try:
        return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M:%SZ")
    except (ValueError, OverflowError, OSError):
        # One such time, in a list or a record, must not take the whole page away.
        return "after the year 9999" if at > 0 else "before the year 1"


_ENVIRONMENT = Environment(
    loader=PackageLoader("tunnel_relay.web"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
_ENVIRONMENT.filters["duration"] = format_duration
_ENVIRONMENT.filters["when"] = when
_ENVIRONMENT.filters["session_end"] = session_end
_ENVIRONMENT.filters["approval_end"] = approval_end
_ENVIRONMENT.filters["iso"] = iso
_ENVIRONMENT.filters["visible"] = visible


def headers(form_targets: str = "") -> dict[str, str]:
    """Return the headers of a page; `form_targets`: other origins its forms may lead to."""
    policy = (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
        f"connect-src 'self'; form-action 'self'{' ' + form_targets if form_targets else ''}; "
        "frame-ancestors 'none'; base-uri 'none'"
    )
    return {
        "Content-Security-Policy": policy,
        "Cache-Control": "no-store",
        # With no-referrer a browser says `Origin: null` with our own forms, which are then refused.
        "Referrer-Policy": "same-origin",
        "X-Content-Type-Options": "nosniff",
        "X-Frame-Options": "DENY",
        "Cross-Origin-Opener-Policy": "same-origin",
    }


def page(template: str, status: int = 200, *, form_targets: str = "", **values: Any) -> Response:
    """Render a template as a whole page or as a piece of one."""
    text = _ENVIRONMENT.get_template(template).render(values)
    return Response(text, status, headers(form_targets), "text/html; charset=utf-8")


def static_route(prefix: str) -> Route:
    """Return the route of the static files below `prefix`."""
    contents = {name: files("tunnel_relay.web").joinpath("static", name) for name in STATIC}

    async def serve(request: Request) -> Response:
        name = request.path_params["name"]
        if name not in contents:
            return Response("not found\n", 404, headers(), "text/plain")
        kept = headers() | {"Cache-Control": "public, max-age=3600"}
        return Response(contents[name].read_bytes(), 200, kept, STATIC[name])

    return Route(f"{prefix}/{{name}}", serve, methods=["GET"])
