"""Pages of tunnels: what they are, who is connected, and what an agent needs to use them."""

from dataclasses import replace
from typing import Any

from starlette.responses import Response

from tunnel_relay import render
from tunnel_relay.admin.views import links_by_tunnel
from tunnel_relay.connect_info import KINDS, connect_info
from tunnel_relay.console.overview import locked_tunnels, with_links, with_state
from tunnel_relay.console.paging import page_of
from tunnel_relay.console.visit import Visit


async def tunnels(visit: Visit) -> Response:
    """List tunnels."""
    links = links_by_tunnel((await visit.run("status"))["links"])
    locked = await locked_tunnels(visit)
    listed = [with_state(each, locked) for each in await visit.run("tunnel_list")]
    shown = page_of(listed, visit.query("query"), visit.query("page"), ("name", "owner", "state"))
    rows = [with_links(each, links) for each in shown.rows]
    return visit.show("tunnels.html", page=replace(shown, rows=rows))


async def tunnel(visit: Visit) -> Response:
    """Show one tunnel."""
    return visit.show("tunnel.html", **await _one(visit, visit.request.path_params["name"]))


async def _one(visit: Visit, name: str) -> dict[str, Any]:
    found = await visit.run("tunnel_show", name=name)
    status, locked = await visit.run("status"), await locked_tunnels(visit)
    base = visit.site.admin.settings.public_url[0]
    return {
        "tunnel": with_links(with_state(found, locked), links_by_tunnel(status["links"])),
        "tools": status["tools"].get(name),
        "connect": [_connect(name, each, base) for each in found["upstreams"]],
    }


def _connect(tunnel: str, upstream: str, base: str) -> dict[str, Any]:
    url = f"{base}/t/{tunnel}/{upstream}/mcp"
    texts = [(kind, connect_info(kind, f"{tunnel}-{upstream}", url)) for kind in KINDS]
    return {"upstream": upstream, "url": url, "texts": texts}


async def create(visit: Visit) -> Response:
    """Register a tunnel and show its join code, this once."""
    name = visit.form.text("name").strip()
    made = await visit.run("tunnel_create", name=name, owner=visit.form.text("owner"))
    return visit.show("join_code.html", made=made, name=name)


async def rotate(visit: Visit) -> Response:
    """Make a new join code and show it, this once."""
    name = visit.request.path_params["name"]
    made = await visit.run("tunnel_rotate", name=name)
    return visit.show("join_code.html", made=made, name=name)


async def disable(visit: Visit) -> Response:
    """Refuse a tunnel."""
    name = visit.request.path_params["name"]
    done = await visit.run("tunnel_disable", name=name)
    visit.tell(f"{name} is disabled: {render.cut(done)}.")
    visit.tell_stored(done)
    return visit.go(f"/tunnels/{name}")


async def enable(visit: Visit) -> Response:
    """Let a tunnel work again."""
    name = visit.request.path_params["name"]
    await visit.run("tunnel_enable", name=name)
    visit.tell(f"{name} is enabled.")
    return visit.go(f"/tunnels/{name}")
