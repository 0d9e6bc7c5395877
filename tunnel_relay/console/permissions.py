"""The page that answers what one user could do, with one agent, at one server."""

from typing import Any
from urllib.parse import urlencode

from starlette.responses import Response

from tunnel_relay.console.paging import PAGE
from tunnel_relay.console.visit import Visit

EFFECTS = {"allow": ("allowed", "good"), "require_approval": ("asks a person", "warn")}
DENIED = "denied", "bad"


async def could(visit: Visit) -> Response:
    """Show policy and live sessions together."""
    user, agent, server = visit.query("user"), visit.query("agent").strip(), visit.query("server")
    shown = await visit.run("user_show", user=user)
    agents = sorted({each["agent"] for each in shown["sessions"]})
    agent = agent or next(iter(agents), "")
    text = visit.query("page")
    number = max(1, int(text)) if text.isascii() and text.isdigit() and len(text) < 6 else 1
    wanted = {"user": shown["user"], "agent": agent, "query": visit.query("query")}
    found: dict[str, Any] | None = None
    if agent:
        found = await visit.run(
            "policy_map", **wanted, server=server or None, limit=PAGE, start=(number - 1) * PAGE
        )
    here: dict[str, Any] = {**wanted, "server": found["server"] if found else server}
    more = found is not None and number * PAGE < found["total"]
    return visit.show(
        "could.html",
        shown=shown,
        agents=agents,
        wanted=here,
        found=found,
        effects=_effects,
        before=_page(here, number - 1) if number > 1 else None,
        after=_page(here, number + 1) if more else None,
    )


def _effects(row: dict[str, Any]) -> list[tuple[str, str]]:
    """Return the words of what can become of a call; several: it depends on the arguments."""
    return [EFFECTS.get(each, DENIED) for each in row["effects"]]


def _page(wanted: dict[str, Any], number: int) -> str:
    kept = {key: value for key, value in wanted.items() if value}
    return "/user/could?" + urlencode({**kept, "page": number})
