"""The page of locks: who and what is refused until further notice."""

from starlette.responses import Response

from tunnel_relay import render
from tunnel_relay.console.paging import page_of
from tunnel_relay.console.visit import Visit
from tunnel_relay.store.base import LockKind


async def locks(visit: Visit) -> Response:
    """List the locks that hold."""
    listed = await visit.run("lock_list")
    keys = ("kind", "subject", "reason")
    shown = page_of(listed, visit.query("query"), visit.query("page"), keys)
    return visit.show("locks.html", page=shown, kinds=list(LockKind))


async def add(visit: Visit) -> Response:
    """Lock something, and say what that ended."""
    form = visit.form
    done = await visit.run(
        "lock_add",
        kind=form.text("kind"),
        subject=form.text("subject").strip(),
        reason=form.text("reason"),
        ttl=form.seconds("ttl"),
    )
    lock = done["lock"]
    visit.tell(f"{lock['kind']} {lock['subject']} is locked: {render.cut(done)}.")
    visit.tell_stored(done)
    return visit.go("/locks")


async def remove(visit: Visit) -> Response:
    """Lift a lock."""
    done = await visit.run("lock_remove", lock=visit.form.text("lock"))
    visit.tell(f"{done['lock']['kind']} {done['lock']['subject']} is not locked any more.")
    return visit.go("/locks")
