"""Reads bodies of cold pages within bounds."""

from collections.abc import Sequence
from urllib.parse import parse_qsl

import anyio
from starlette.requests import ClientDisconnect, Request

MAX_FORM = 16 * 1024
READ_SECONDS = 10.0


async def read_body(request: Request, most: int = MAX_FORM) -> bytes:
    """Return the body; raises ValueError when it is too large, too slow or not whole."""
    body = bytearray()
    try:
        with anyio.fail_after(READ_SECONDS):
            async for chunk in request.stream():
                body += chunk
                if len(body) > most:
                    raise ValueError("too large")
    except (TimeoutError, ClientDisconnect):
        raise ValueError("not whole") from None
    return bytes(body)


async def read_form(request: Request) -> dict[str, str]:
    """Return the fields of a form that a browser sent; raises ValueError."""
    media_type = request.headers.get("content-type", "").split(";")[0].strip().lower()
    if media_type != "application/x-www-form-urlencoded":
        raise ValueError("not a form")
    text = (await read_body(request)).decode("ascii")
    pairs: Sequence[tuple[str, str]] = parse_qsl(text, keep_blank_values=True)
    fields = dict(pairs)
    if len(fields) != len(pairs):
        raise ValueError("a field came twice")
    return fields
