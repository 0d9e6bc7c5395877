"""Pages of sessions: finding one among many, looking at it, ending it."""

from urllib.parse import urlencode

from starlette.responses import Response

from tunnel_relay import render
from tunnel_relay.console.paging import PAGE
from tunnel_relay.console.visit import Visit
from tunnel_relay.session_search import LIVE, STATES


async def sessions(visit: Visit) -> Response:
    """List sessions, the newest first; a search that htmx makes gets only the rows."""
    query, user = visit.query("query"), visit.query("user")
    state = visit.query("state") or LIVE
    after = visit.query("after") or None
    found = await visit.run(
        "session_list", query=query, user=user or None, state=state, limit=PAGE, after=after
    )
    wanted = {"query": query, "user": user, "state": state}
    older = found["next"] and "/sessions?" + urlencode({**wanted, "after": found["next"]})
    show, template = (
        (visit.piece, "_found.html") if visit.by_htmx else (visit.show, "sessions.html")
    )
    return show(
        template,
        sessions=found["sessions"],
        wanted=wanted,
        states=STATES,
        newest="/sessions?" + urlencode(wanted) if after else None,
        older=older,
    )


async def session(visit: Visit) -> Response:
    """Show one session."""
    shown = await visit.run("session_show", session=visit.request.path_params["session"])
    return visit.show("session.html", session=shown)


async def revoke(visit: Visit) -> Response:
    """End a session, and say what was cut and how fast."""
    which = visit.request.path_params["session"]
    done = await visit.run("session_revoke", session=which, reason=visit.form.given("reason"))
    visit.tell(f"Revoked: {render.cut(done)}.")
    visit.tell_stored(done)
    if visit.by_htmx:
        return visit.show("_session.html", session=done["session"])
    return visit.go(f"/sessions/{done['session']['id']}")
