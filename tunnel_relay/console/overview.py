"""The first page: what is connected, what is not, and what happened lately. And the feed of it."""

from collections.abc import Mapping
from typing import Any

from starlette.responses import Response

from tunnel_relay.admin.commands import COMMANDS, allows
from tunnel_relay.admin.views import links_by_tunnel
from tunnel_relay.console.paging import PAGE
from tunnel_relay.console.visit import NAVIGATION, Visit
from tunnel_relay.errors import Code, RelayError
from tunnel_relay.web.pages import headers

NEWEST = 8
FEED = 200


async def overview(visit: Visit) -> Response:
    """Show the relay on one screen; who may not see it lands on the first page they may see."""
    if not visit.may("status") and visit.problem is None:
        return visit.go(next(path for path, _, command in NAVIGATION if visit.may(command)))
    return visit.show("overview.html", paused=visit.query("paused"), **await _state(visit))


async def live(visit: Visit) -> Response:
    """Return the part of the overview that changes by itself."""
    return visit.piece("_live.html", **await _state(visit))


async def _state(visit: Visit) -> dict[str, Any]:
    status = await visit.run("status")
    locked = await locked_tunnels(visit)
    links = links_by_tunnel(status["links"])
    # This comes every few seconds from every tab, so it is about one page of tunnels.
    listed = await visit.run("tunnel_list", limit=PAGE)
    tunnels = [with_links(with_state(each, locked), links) for each in listed]
    return {"relay": status, "tunnels": tunnels, "events": visit.site.events.newest(NEWEST)}


async def locked_tunnels(visit: Visit) -> set[str]:
    """Return the names of the tunnels that are locked."""
    locks = await visit.run("lock_list")
    return {each["subject"] for each in locks if each["kind"] == "tunnel"}


def with_state(tunnel: dict[str, Any], locked: set[str]) -> dict[str, Any]:
    """Return a tunnel with its health in words."""
    state, kind = "not connected", "warn"
    if tunnel["disabled"]:
        state, kind = "disabled", "off"
    elif tunnel["name"] in locked:
        state, kind = "locked", "bad"
    elif tunnel["cloned"]:
        state, kind = "key locked", "bad"
    elif tunnel["links"]:
        state, kind = "connected", "good"
    return {**tunnel, "state": state, "kind": kind}


def with_links(tunnel: dict[str, Any], links: Mapping[str, list[dict[str, Any]]]) -> dict[str, Any]:
    """Return a tunnel with its links, of those of all tunnels, and their worst round trip."""
    mine = links.get(tunnel["name"], [])
    return {
        **tunnel,
        "live": mine,
        "round_trip_ms": max((link["round_trip_ms"] for link in mine), default=None),
        "streams": sum(link["streams"] for link in mine),
    }


async def events(visit: Visit) -> Response:
    """Show the feed."""
    _may_watch(visit)
    ring = visit.site.events
    shown = {"events": ring.newest(FEED), "last": ring.last}
    return visit.show("events.html", paused=visit.query("paused"), **shown)


async def events_after(visit: Visit) -> Response:
    """Return the feed when it has something newer than the page, else 204."""
    _may_watch(visit)
    ring = visit.site.events
    if visit.request.path_params["number"] == ring.last:
        return Response(status_code=204, headers=headers())
    return visit.piece("_feed.html", events=ring.newest(FEED), last=ring.last)


def _may_watch(visit: Visit) -> None:
    if not allows(visit.roles, COMMANDS["status"]):
        raise RelayError(Code.ROLE_NEEDED, "the events are for auditors and admins")
