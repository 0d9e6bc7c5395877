"""Signs a request with an approver's own key, on the approver's machine.

The relay is not trusted here: what is signed is taken apart and compared with what was shown, and a
difference is refused. So a relay that shows one call and has another signed gets no signature.
"""

import hashlib
from dataclasses import dataclass
from typing import Any

from shared.jsonrpc.canonical import canonical, digest, exact
from shared.keys import PrivateKey, encode_public
from shared.permit import Permit, PermitError, approver_message
from tunnel_relay.errors import Code, RelayError


@dataclass(frozen=True, slots=True)
class Shown:
    """What an approver looks at before they sign: all of it is covered by the signature."""

    permit: Permit
    arguments: str
    definition: str | None


def check(answer: dict[str, Any]) -> Shown:
    """Return what the answer of `approval_show` asks to have signed; raises NOT_AS_SHOWN."""
    try:
        permit = Permit.of_payload(answer["payload"].encode())
        text = answer["text"]
        definition = answer.get("definition_text")
        if text is None:
            raise RelayError(Code.APPROVAL_OVER, "its arguments are not kept any more")
        found = hashlib.sha256(text.encode()).hexdigest()
        same = found == permit.arguments and canonical(exact(text.encode())) == text.encode()
        if definition is not None:
            same = same and digest(exact(definition.encode())) == permit.definition
    except (PermitError, ValueError, KeyError, TypeError, AttributeError):
        raise RelayError(Code.NOT_AS_SHOWN, "the relay's answer makes no sense") from None
    if not same or permit.id != answer.get("id"):
        raise RelayError(Code.NOT_AS_SHOWN, "arguments or definition are others than those to sign")
    return Shown(permit, text, definition)


def sign(shown: Shown, key: PrivateKey) -> dict[str, str]:
    """Return key and signature as `approval_approve` takes them."""
    made = key.sign(approver_message(shown.permit))
    return {"key": encode_public(key.public), "signature": made.hex()}
