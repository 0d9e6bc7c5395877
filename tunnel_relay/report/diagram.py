"""Where credentials are: agent, relay, client, server, and what each of them holds. Pure.

Places and sizes only, in units of the picture; a template draws them and escapes every word.
"""

from collections.abc import Iterable
from typing import Any, NamedTuple

WIDTH = 1080
TOP = 64
"""Where the boxes begin, below the names of the columns."""
LANE = 66
"""Height of one server's box with the gap below it."""
GAP = 12
MAX_LANES = 24
"""Servers that are drawn; the inventory lists all."""
COLUMNS = {"agents": (0, 190), "relay": (286, 205), "clients": (574, 220), "servers": (872, 208)}
"""Left edge and width of each column."""
BORDER = 535
"""Where the private network begins."""


class Box(NamedTuple):
    """One box: a heading and what is held there, a line each."""

    kind: str
    x: int
    y: int
    width: int
    height: int
    title: str
    lines: tuple[str, ...]
    warn: bool = False


class Arrow(NamedTuple):
    """From who speaks first to whom, and what is shown on the way."""

    x1: int
    y1: int
    x2: int
    y2: int
    label: str
    label_x: int
    label_y: int


class Picture(NamedTuple):
    """All of it; `left_out`: servers there was no room for."""

    width: int
    height: int
    border: int
    boxes: tuple[Box, ...]
    arrows: tuple[Arrow, ...]
    left_out: int


def picture(doc: dict[str, Any]) -> Picture:
    """Lay a report's tunnels out."""
    every = [(tunnel, name) for tunnel in doc["tunnels"] for name in _names(tunnel, doc["clients"])]
    lanes = every[:MAX_LANES]
    rows = max(3, len(lanes))
    height = TOP + rows * LANE
    boxes = [_agents(doc, rows), _relay(doc, rows)]
    left, width = COLUMNS["agents"]
    middle = TOP + (rows * LANE - GAP) // 2
    x, relay_width = COLUMNS["relay"]
    arrows = [
        Arrow(left + width, middle, x, middle, "session token", (left + width + x) // 2, middle - 8)
    ]
    at = 0
    for tunnel in doc["tunnels"]:
        mine = [name for one, name in lanes if one is tunnel]
        if not mine:
            continue
        box = _client(tunnel, doc["clients"], at, len(mine))
        boxes.append(box)
        y = box.y + box.height // 2
        arrows.append(Arrow(box.x, y, x + relay_width, y, "dials out", BORDER, y - 8))
        for place, name in enumerate(mine, at):
            server, shown = _server(tunnel["name"], name, doc["clients"], place)
            boxes.append(server)
            middle = server.y + server.height // 2
            end = box.x + box.width
            arrows.append(
                Arrow(end, middle, server.x, middle, shown, (end + server.x) // 2, middle - 8)
            )
        at += len(mine)
    return Picture(WIDTH, height, BORDER, tuple(boxes), tuple(arrows), len(every) - len(lanes))


def _names(tunnel: dict[str, Any], clients: Iterable[dict[str, Any]]) -> list[str]:
    """Return the servers of a tunnel: what it offers now, and what its clients told of."""
    told = {
        each["name"]
        for part in clients
        if part["tunnel"] == tunnel["name"]
        for each in part["upstreams"]
    }
    return sorted({*tunnel["upstreams"], *told}) or ["(nothing offered)"]


def _agents(doc: dict[str, Any], rows: int) -> Box:
    x, width = COLUMNS["agents"]
    live = doc["sessions"]["live"]
    lines = (
        f"{live} session token{'' if live == 1 else 's'},",
        "each for one server",
        "no credential of a server",
    )
    return Box("agents", x, TOP, width, rows * LANE - GAP, "AI agents", lines)


def _relay(doc: dict[str, Any], rows: int) -> Box:
    x, width = COLUMNS["relay"]
    rules = len(doc["policy"]["rules"])
    lines = (
        "digests of session tokens",
        "its signing key",
        f"its policy, {rules} rule{'' if rules == 1 else 's'}",
        "its log",
        "no credential of a server",
    )
    return Box("relay", x, TOP, width, rows * LANE - GAP, "Relay", lines)


def _client(tunnel: dict[str, Any], clients: Iterable[dict[str, Any]], at: int, lanes: int) -> Box:
    x, width = COLUMNS["clients"]
    count = len(tunnel["instances"])
    parts = [part for part in clients if part["tunnel"] == tunnel["name"]]
    held = {each["name"] for part in parts for each in part["upstreams"] if each["credential"]}
    said = f"{len(held)} credential{'' if len(held) == 1 else 's'}"
    # A box of one lane has room for two lines.
    lines = [said if parts else "credentials: not told", "its key, its policy, its pins"]
    lines.append(f"{count} client{'' if count == 1 else 's'}")
    y = TOP + at * LANE
    return Box("client", x, y, width, lanes * LANE - GAP, tunnel["name"], tuple(lines), not parts)


def _server(
    tunnel: str, name: str, clients: Iterable[dict[str, Any]], place: int
) -> tuple[Box, str]:
    """Return the box of a server, and what the client shows it."""
    x, width = COLUMNS["servers"]
    told = [
        each
        for part in clients
        if part["tunnel"] == tunnel
        for each in part["upstreams"]
        if each["name"] == name
    ]
    y, height = TOP + place * LANE, LANE - GAP
    if not told:
        return Box("server", x, y, width, height, name, ("not told by its client",), True), "?"
    one = told[0]
    line, warn = one["target"], one["in_clear"]
    if one["transport"] == "stdio":
        line, warn = ("in a sandbox", False) if one["caged"] else ("NO SANDBOX", True)
    shown = _CREDENTIALS.get(one["credential"] or "", one["credential"])
    if shown is None:
        shown = "variables" if one["variables"] else "nothing"
    return Box("server", x, y, width, height, name, (line,), warn), shown


_CREDENTIALS = {
    "client_credentials": "OAuth",
    "token_exchange": "exchange",
    "api_key": "API key",
}
"""Short enough to stand on an arrow."""
