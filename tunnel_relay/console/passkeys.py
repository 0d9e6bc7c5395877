"""The page of passkeys: those who approve add and remove their own."""

import hashlib
import json
from dataclasses import replace

from starlette.responses import Response

from shared.keys import BadKeyError
from shared.passkey import encode
from tunnel_relay.admin.callers import LoggedIn
from tunnel_relay.console.proof import prove
from tunnel_relay.console.registration import read_registration, registration_challenge
from tunnel_relay.console.visit import Visit
from tunnel_relay.errors import Code, RelayError


async def passkeys(visit: Visit) -> Response:
    """List the user's own passkeys, with what to paste into a client's policy."""
    user = visit.logged_in.who.user
    listed = await visit.run("passkey_list", user=user)
    return visit.show(
        "passkeys.html",
        passkeys=[each | {"line": _line(user, each["key"])} for each in listed],
        challenge=encode(registration_challenge(visit.logged_in.login.csrf)),
        handle=encode(hashlib.sha256(user.encode()).digest()),
        exclude=" ".join(each["credential"] for each in listed),
    )


async def add(visit: Visit) -> Response:
    """Register what the browser made."""
    await prove(visit)
    login, form = visit.logged_in.login, visit.form
    origin = visit.request.headers.get("origin", "").lower()
    challenge = registration_challenge(login.csrf)
    try:
        credential, passkey = read_registration(
            form.text("client_data"), form.text("authenticator_data"), challenge, origin
        )
    except BadKeyError as error:
        raise RelayError(
            Code.PASSKEY_REFUSED, f"the browser's answer is refused: {error}"
        ) from None
    visit.logged_in = LoggedIn(login, replace(visit.logged_in.who, on_page=True))
    done = await visit.run(
        "passkey_add",
        name=form.text("name").strip(),
        credential=encode(credential),
        key=passkey.text(),
    )
    visit.tell(f"{done['passkey']['name']} is added. It counts where a client's policy lists it.")
    return visit.go("/passkeys")


async def remove(visit: Visit) -> Response:
    """Let a passkey sign no more."""
    done = await visit.run("passkey_remove", passkey=visit.form.text("passkey"))
    visit.tell(f"{done['passkey']['name']} is removed. Take it out of the clients' policies too.")
    visit.tell_stored(done)
    return visit.go("/passkeys")


def _line(user: str, key: str) -> str:
    """Return a line of `approver_keys`; JSON's quotes are YAML's too."""
    return f"{json.dumps(user)}: {json.dumps(key)}"
