"""Values of MCP headers: plain text, or base64 where HTTP would not carry it whole.

Source: 2026-07-28, transports, "Custom headers": both ends must read one value in one header.
"""

import base64
import re

Headers = list[tuple[bytes, bytes]]
"""Names in lower case, as ASGI and the link give them."""

_PREFIX, _SUFFIX = "=?base64?", "?="
_PLAIN = re.compile(r"(?! )[\x20-\x7e]*(?<! )")


def encode_value(text: str) -> str:
    """Write a header value: plain when it survives HTTP, else as `=?base64?...?=` of UTF-8."""
    if _PLAIN.fullmatch(text) and not _is_wrapped(text):
        return text
    return _PREFIX + base64.b64encode(text.encode()).decode() + _SUFFIX


def decode_value(text: str) -> str | None:
    """Read what `encode_value` wrote; None when it is wrapped but not exactly as that would."""
    if not _is_wrapped(text):
        return text
    payload = text[len(_PREFIX) : -len(_SUFFIX)]
    try:
        raw = base64.b64decode(payload, validate=True)
        decoded = raw.decode()
    except ValueError:
        return None
    # Spare bits that are not zero pass the decoder, and would give one name two spellings.
    return decoded if base64.b64encode(raw).decode() == payload else None


def text_of(value: bytes) -> str:
    """Read a header; white space around it is no part of its value (RFC 9110 section 5.5)."""
    return value.strip(b" \t").decode("latin-1")


def _is_wrapped(text: str) -> bool:
    return (
        text.startswith(_PREFIX)
        and text.endswith(_SUFFIX)
        and len(text) >= len(_PREFIX) + len(_SUFFIX)
    )
