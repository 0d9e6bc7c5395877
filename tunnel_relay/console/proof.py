"""Makes sure that whoever decides is still the one who logged in (U17)."""

import math
import time
from dataclasses import replace

import structlog
from pydantic import SecretStr

from shared.audit.events import note
from shared.keys import BadKeyError
from shared.passkey import Assertion, Passkey, decode
from tunnel_relay.admin.answers import too_many
from tunnel_relay.admin.callers import LoggedIn
from tunnel_relay.console.visit import Visit
from tunnel_relay.errors import Code, RelayError

log = structlog.get_logger("tunnel_relay.console")


def needs_proof(visit: Visit) -> bool:
    """Tell whether the user has to show their password before they decide."""
    return not visit.logged_in.who.fresh


def has_password(visit: Visit) -> bool:
    """Tell whether the user has a password here; others log in anew at their provider."""
    user = visit.site.admin.directory.users.get(visit.logged_in.login.user)
    return user is not None and user.password is not None


async def prove(visit: Visit) -> None:
    """Take the password in the form as proof; raises RelayError LOGIN_STALE, StatusError 429."""
    if not needs_proof(visit):
        return
    login, admin = visit.logged_in.login, visit.site.admin
    password = visit.form.text("password")
    if not password or not has_password(visit):
        raise RelayError(Code.LOGIN_STALE, "prove once more that it is you, and decide again")
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
