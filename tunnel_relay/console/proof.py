"""Makes sure that whoever decides, or gives, is still the one who logged in (U17)."""

import math
import time
from dataclasses import replace

import structlog
from pydantic import SecretStr
from starlette.responses import Response

from shared.audit.events import note
from shared.keys import BadKeyError
from shared.passkey import Assertion, Passkey, decode
from tunnel_relay.admin.answers import too_many
from tunnel_relay.admin.callers import LoggedIn
from tunnel_relay.console.visit import View, Visit
from tunnel_relay.errors import Code, RelayError

log = structlog.get_logger("tunnel_relay.console")

CURRENT = "current_password"
"""The field of a form that sets, or may set, another password."""


def proven(action: View) -> View:
    """Return what a form does, done only for who proved lately, or proves now, who they are."""

    async def act(visit: Visit) -> Response:
        await prove(visit, CURRENT)
        return await action(visit)

    return act


async def prove(visit: Visit, name: str = "password", *, anew: bool = False) -> None:
    """Take the password in a field of the form as proof; `anew`: though they proved it lately.

    Raises RelayError LOGIN_STALE, StatusError 429.
    """
    if not visit.needs_proof and not anew:
        return
    login, admin = visit.logged_in.login, visit.site.admin
    password = visit.form.text(name)
    if not password or not visit.has_password:
        raise RelayError(Code.LOGIN_STALE, "prove once more that it is you, and do it again")
    client = visit.request.client
    address = client.host if client else ""
    wait = admin.throttle.take(login.user, address, time.monotonic())
    if wait:
        note("login.throttled", at="console", source=address)
        raise too_many(wait, f"Too many attempts. Try again in {math.ceil(wait)} s.")
    right = await admin.passwords.verify(login.password, SecretStr(password))
    user = admin.directory.active_user(login.user)
    if not right or user is None or user.password != login.password:
        log.warning("console_proof_refused", user=login.user)
        note("login.failed", who={"user": login.user}, at="console", source=address)
        raise RelayError(Code.LOGIN_STALE, "that is not your password")
    admin.throttle.succeeded(login.user, address)
    login.proved = admin.clock()
    visit.logged_in = LoggedIn(login, replace(visit.logged_in.who, fresh=True))


async def prove_by_passkey(visit: Visit, which: str) -> dict[str, str]:
    """Take a passkey's signature over a request as proof, for this one request and no other.

    Returns key and signature as `approval_approve` takes them; raises RelayError SIGNATURE_NEEDED.
    """
    shown, form = await visit.run("approval_show", approval=which), visit.form
    theirs = {each["credential"]: each["key"] for each in shown["passkeys"]}
    key = theirs.get(form.text("credential"))
    if key is None:
        raise RelayError(Code.SIGNATURE_NEEDED, "this passkey is not registered as yours")
    try:
        parts = (form.text(name) for name in ("authenticator_data", "client_data", "signature"))
        made = Assertion.parse("~".join(parts))
    except BadKeyError:
        raise RelayError(Code.SIGNATURE_NEEDED, "this is no passkey's signature") from None
    if not Passkey.parse(key).signed(made, decode(shown["challenge"])):
        raise RelayError(
            Code.SIGNATURE_NEEDED, "the passkey did not sign this request, or did not verify you"
        )
    visit.logged_in = LoggedIn(visit.logged_in.login, replace(visit.logged_in.who, fresh=True))
    return {"key": key, "signature": made.text()}
