"""Pages of approvals: what waits for a human, everything to look at, and the decision."""

from typing import Any
from urllib.parse import urlencode

from starlette.responses import Response

from tunnel_relay.approvals import shown
from tunnel_relay.console.paging import PAGE
from tunnel_relay.console.proof import prove, prove_by_passkey
from tunnel_relay.console.texts import part_of
from tunnel_relay.console.visit import Visit


async def approvals(visit: Visit) -> Response:
    """List what is pending, then what was decided."""
    return visit.show("approvals.html", paused=visit.query("paused"), **await _listed(visit))


async def live(visit: Visit) -> Response:
    """Return the part of the list that changes by itself."""
    return visit.piece("_approvals.html", **await _listed(visit))


async def count(visit: Visit) -> Response:
    """Return the number beside the link to this page."""
    return visit.piece("_waiting.html")


async def approval(visit: Visit) -> Response:
    """Show one request, all of it."""
    found = await visit.run("approval_show", approval=visit.request.path_params["approval"])
    here, text = f"/approvals/{found['id']}", found["text"]
    return await visit.show_much(
        "approval.html",
        approval=found,
        arguments=await part_of(visit, here, "arguments", text),
        raw=await part_of(visit, here, "raw", text, shown.in_one_line),
        definition=await part_of(visit, here, "definition", found["definition_text"]),
        credentials=" ".join(each["credential"] for each in found["passkeys"]),
    )


async def approve(visit: Visit) -> Response:
    """Say yes."""
    which, signed = visit.request.path_params["approval"], {}
    if visit.form.text("credential"):
        signed = await prove_by_passkey(visit, which)
    else:
        await prove(visit)
    reason = visit.form.given("reason") or ""
    done = await visit.run("approval_approve", approval=which, reason=reason, **signed)
    if done["state"] == "approved":
        visit.tell("Approved. The agent may repeat the call, once.")
    else:
        visit.tell(f"Noted: {len(done['approvals'])} of {done['count']} approvals.")
    return visit.go(f"/approvals/{done['id']}")


async def deny(visit: Visit) -> Response:
    """Say no."""
    which = visit.request.path_params["approval"]
    done = await visit.run("approval_deny", approval=which, reason=visit.form.text("reason"))
    visit.tell("Denied.")
    visit.tell_stored(done)
    return visit.go(f"/approvals/{done['approval']['id']}")


async def _listed(visit: Visit) -> dict[str, Any]:
    query, after = visit.query("query").strip(), visit.query("after")
    found = await visit.run(
        "approval_list", every=True, query=query, limit=PAGE, after=after or None
    )
    wanted = {"query": query} if query else {}
    following = found["next"] and "/approvals?" + urlencode({**wanted, "after": found["next"]})
    return {
        "found": found,
        "query": query,
        "first": "/approvals?" + urlencode(wanted) if after else None,
        "following": following,
    }
