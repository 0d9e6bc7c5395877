"""Our own refusals as the JSON-RPC errors that an agent gets in place of an answer. Pure."""

from typing import Any, Literal

import jiter

from shared.jsonrpc.envelope import error_body
from tunnel_client.errors import EXIT_NOT_PERMITTED, ClientError

# The codes of the relay's own answers, so that an agent sees one set (docs/operations.md).
UNAVAILABLE = -31001
INTERRUPTED = -31002
REFUSED = -31004

Delivery = Literal["never_sent", "unknown"]
"""Whether a call certainly did not run, or may have."""


def fault(error: ClientError, message_id: str | int | None, delivery: Delivery) -> bytes:
    """Write a refusal as the answer to a request."""
    if delivery == "unknown":
        code = INTERRUPTED
    else:
        code = REFUSED if error.exit_code == EXIT_NOT_PERMITTED else UNAVAILABLE
    text = f"{error.code}: {error.cause}; next: {error.next}"
    told = {"origin": "tunnel-client", "code": error.code, "delivery": delivery}
    return error_body(message_id, code, text, told)


def error_of(body: bytes, message_id: str | int | None) -> bytes | None:
    """Return the JSON-RPC error in the body of a failed request, addressed to who asked.

    None when there is none: any bytes may come.
    """
    error = _error(body)
    if error is None:
        return None
    return error_body(message_id, error["code"], error["message"], error.get("data"))


def code_of(body: bytes) -> int | None:
    """Return the code of the JSON-RPC error in a body, None when there is none."""
    error = _error(body)
    return None if error is None else error["code"]


def _error(body: bytes) -> dict[str, Any] | None:
    try:
        document = jiter.from_json(body)
    except ValueError:
        return None
    error = document.get("error") if isinstance(document, dict) else None
    if not isinstance(error, dict):
        return None
    known = type(error.get("code")) is int and isinstance(error.get("message"), str)
    return error if known else None
