"""What `_meta` and the headers beside it may not say: our own prefix, and traces without end.

Bodies pass byte for byte, so nothing is stripped here: a message with something reserved is refused
whole. What else stands in `_meta` (`tenant`, `user`) passes, and no decision reads it.
"""

from collections.abc import Iterable
from typing import Any

PREFIX = "mcp-tunnel/"
"""Of keys in `_meta` that only the relay and the client may ever set, for each other."""

MAX_TRACE = {"traceparent": 128, "tracestate": 512, "baggage": 8192}
"""Bytes of trace context, as keys of `_meta` and as headers.

W3C: a traceparent is 55, and a later version may append to it; tracestate must be propagated up to
512, baggage up to 8192.
"""
_HEADERS = {name.encode(): most for name, most in MAX_TRACE.items()}


def meta_fault(meta: dict[str, Any]) -> str | None:
    """Say what a `_meta` object must not hold, None when there is nothing of it."""
    for key, value in meta.items():
        folded = key.casefold()
        if folded.startswith(PREFIX):
            return f"_meta keys of {PREFIX} are reserved"
        if folded in MAX_TRACE and _too_long(value, MAX_TRACE[folded]):
            return _told(folded)
    return None


def trace_fault(meta: dict[str, Any]) -> str | None:
    """Say which key of trace context is too long, None when none is; looks at no other key."""
    for name, most in MAX_TRACE.items():
        if name in meta and _too_long(meta[name], most):
            return _told(name)
    return None


def headers_fault(headers: Iterable[tuple[bytes, bytes]]) -> str | None:
    """Say which header of trace context is too long, None when none is; names in lower case.

    What comes in several fields counts together.
    """
    found: dict[bytes, int] = {}
    for name, value in headers:
        if name in _HEADERS:
            size = found[name] = found.get(name, -1) + 1 + len(value)
            if size > _HEADERS[name]:
                return f"{name.decode()} must be {_HEADERS[name]} bytes at most"
    return None


def _too_long(value: Any, most: int) -> bool:
    if type(value) is not str or len(value) > most:
        return True
    return not value.isascii() and len(value.encode(errors="surrogatepass")) > most


def _told(name: str) -> str:
    return f"{name} in _meta must be a string of {MAX_TRACE[name]} bytes at most"
