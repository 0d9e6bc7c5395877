"""The page of agents: the OAuth clients this relay knows."""

from starlette.responses import Response

from tunnel_relay.console.paging import page_of
from tunnel_relay.console.visit import Visit


async def agents(visit: Visit) -> Response:
    """List agents."""
    listed = await visit.run("agent_list")
    shown = page_of(listed, visit.query("query"), visit.query("page"), ("agent", "name", "kind"))
    return visit.show("agents.html", page=shown)


async def add(visit: Visit) -> Response:
    """Register an agent; a client secret is shown this once."""
    form = visit.form
    done = await visit.run(
        "agent_add",
        agent=form.text("agent").strip(),
        name=form.given("name"),
        redirect_uris=form.text("redirect_uris").split(),
        secret=bool(form.text("secret")),
    )
    if done["secret"]:
        return visit.show("agent_secret.html", made=done)
    visit.tell(f"{done['agent']['agent']} is registered.")
    return visit.go("/agents")


async def disable(visit: Visit) -> Response:
    """Refuse an agent."""
    agent = visit.form.text("agent")
    reason = visit.form.given("reason") or "disabled by an admin"
    done = await visit.run("agent_disable", agent=agent, reason=reason)
    visit.tell(f"{agent} is disabled; {done['sessions']} sessions ended.")
    visit.tell_stored(done)
    return visit.go("/agents")


async def enable(visit: Visit) -> Response:
    """Let an agent in again."""
    agent = visit.form.text("agent")
    await visit.run("agent_enable", agent=agent)
    visit.tell(f"{agent} is enabled; sessions that ended stay ended.")
    return visit.go("/agents")
