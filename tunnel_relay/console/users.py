"""Pages of users: local accounts, and those other issuers vouch for."""

from dataclasses import replace
from typing import Any
from urllib.parse import urlencode

from pydantic import SecretStr
from starlette.responses import Response

from tunnel_relay import render
from tunnel_relay.console.edits import edited, mark
from tunnel_relay.console.forms import Form
from tunnel_relay.console.paging import page_of
from tunnel_relay.console.proof import CURRENT, prove
from tunnel_relay.console.visit import Visit
from tunnel_relay.errors import Code, RelayError
from tunnel_relay.store.base import Role

MAX_GROUPS = 48 * 1024
"""Characters of a form's groups as they are sent: with more it would be too large to be read."""

NOTHING = "Nothing was changed: the form holds no edit that is not stored already."


async def users(visit: Visit) -> Response:
    """List users."""
    listed = await visit.run("user_list")
    shown = page_of(listed, visit.query("query"), visit.query("page"), ("user", "name", "roles"))
    return visit.show("users.html", page=shown, roles=list(Role))


async def user(visit: Visit) -> Response:
    """Show one user; the key may hold a URL, so it is no part of the path."""
    key = visit.query("user") or visit.form.text("user")
    shown = await visit.run("user_show", user=key)
    tokens = await visit.run("user_tokens", user=shown["user"])
    filled, was = _filled(visit, shown)
    return visit.show(
        "user.html", shown=shown, tokens=tokens, roles=list(Role), filled=filled, was=was
    )


def _filled(visit: Visit, shown: dict[str, Any]) -> tuple[dict[str, Any], dict[str, str]]:
    """Return what the form for changes holds, and its marks: what is stored.

    After a refusal what was sent, so that no edit is lost; but for what changed meanwhile, which
    is to be looked at anew.
    """
    groups = "\n".join(shown["groups"])
    filled = {
        "name": shown["name"],
        "roles": shown["roles"],
        "groups": groups if len(urlencode({"groups": groups})) <= MAX_GROUPS else None,
        "servers": " ".join(shown["servers"]),
    }
    was = {name: mark(shown[name]) for name in filled}
    problem, form = visit.problem, visit.form
    if problem is None or problem.code is Code.CHANGED_MEANWHILE:
        return filled, was
    for name in filled:
        # Only the form for changes has marks.
        if sent := form.text(f"was_{name}"):
            filled[name] = form.all(name) if name == "roles" else form.text(name)
            was[name] = sent
    return filled, was


async def add(visit: Visit) -> Response:
    """Add a user."""
    form, password = visit.form, _password(visit.form)
    done = await visit.run(
        "user_add",
        user=form.text("user"),
        name=form.given("name"),
        roles=form.all("roles"),
        groups=form.lines("groups"),
        servers=form.words("servers"),
        password=password,
    )
    visit.tell(f"{done['user']['user']} is added.")
    return _to(visit, done["user"]["user"])


async def change(visit: Visit) -> Response:
    """Change what was edited of what a user is and may."""
    form, key = visit.form, visit.form.text("user")
    shown = await visit.run("user_show", user=key)
    given = {
        "name": form.given("name"),
        "roles": [Role.USER.value, *form.all("roles")],
        "groups": form.lines("groups"),
        "servers": form.words("servers"),
    }
    changes = edited(form, given, shown, key)
    was = {name: shown[name] for name in changes}
    done = await visit.run("user_change", user=key, was=was, **changes)
    ended = f"Changed; {done['sessions']} sessions ended."
    visit.tell(ended if changes else NOTHING)
    visit.tell_stored(done)
    return _to(visit, key)


async def set_password(visit: Visit) -> Response:
    """Set a user's password; their logins end. One's own takes the one of now, however fresh."""
    password, key = _password(visit.form), visit.form.text("user")
    if password is None:
        raise RelayError(Code.WEAK_PASSWORD, "there is no password in the form")
    await prove(visit, CURRENT, anew=key == visit.logged_in.who.user)
    visit.logged_in = replace(visit.logged_in, who=replace(visit.logged_in.who, on_page=True))
    await visit.run("user_password", user=key, password=password)
    visit.tell("The password is set; logins with the old one have ended.")
    return _to(visit, key)


async def disable(visit: Visit) -> Response:
    """Refuse a user."""
    key = visit.form.text("user")
    reason = visit.form.given("reason") or "disabled by an admin"
    done = await visit.run("user_disable", user=key, reason=reason)
    visit.tell(f"Disabled: {render.cut(done)}.")
    visit.tell_stored(done)
    return _to(visit, key)


async def enable(visit: Visit) -> Response:
    """Let a user in again."""
    key = visit.form.text("user")
    await visit.run("user_enable", user=key)
    visit.tell("Enabled; sessions that ended stay ended.")
    return _to(visit, key)


async def revoke_token(visit: Visit) -> Response:
    """End an admin token."""
    done = await visit.run("user_token_revoke", token=visit.form.text("token"))
    visit.tell(f"The token {done['admin_token']['name']!r} works no more.")
    visit.tell_stored(done)
    return _to(visit, done["admin_token"]["user"])


def _password(form: Form) -> SecretStr | None:
    text = form.text("password")
    return SecretStr(text) if text else None


def _to(visit: Visit, key: str) -> Response:
    return visit.go("/user?" + urlencode({"user": key.strip()}))
