"""What an agent says of itself, and the trace it calls in: claimed, and never believed."""

import re
from collections.abc import Iterable
from typing import Any

from shared.jsonrpc.envelope import META_PREFIX, Envelope

CLIENT_INFO = META_PREFIX + "clientInfo"
MAX_CLAIM = 64
"""Characters kept of a name and of a version."""
_TRACE = re.compile(r"[0-9a-f]{2}-([0-9a-f]{32}-[0-9a-f]{16})-[0-9a-f]{2}(?:-.*)?")


def claimed(envelope: Envelope) -> str | None:
    """Return `name/version` as a request says; None when it says nothing of it."""
    params = envelope.params
    if not params:
        return None
    if envelope.method == "initialize":
        info: Any = params.get("clientInfo")
    else:
        meta = params.get("_meta")
        info = meta.get(CLIENT_INFO) if type(meta) is dict else None
    if type(info) is not dict:
        return None
    return f"{_plain(info.get('name'))}/{_plain(info.get('version'))}"


def trace_header(headers: Iterable[tuple[bytes, bytes]]) -> str | None:
    """Return the trace that headers speak of, as it stands there; None without one."""
    for name, value in headers:
        if name == b"traceparent":
            return value.decode("latin-1")
    return None


def trace_of(envelope: Envelope | None, header: str | None) -> str | None:
    """Return W3C trace id and span of a request, a dash between; the body comes first."""
    params = None if envelope is None else envelope.params
    meta = None if params is None else params.get("_meta")
    found = meta.get("traceparent", header) if type(meta) is dict else header
    if type(found) is not str:
        return None
    matched = _TRACE.fullmatch(found)
    return None if matched is None else matched[1]


def user_agent(headers: Iterable[tuple[bytes, bytes]]) -> str | None:
    """Return what the program that sent a request says it is; None when it says nothing."""
    for name, value in headers:
        if name == b"user-agent":
            return _plain(value.decode("latin-1"))
    return None


def _plain(value: object) -> str:
    """Return text that is one line to every reader; "?" for none."""
    if not isinstance(value, str) or not value:
        return "?"
    return "".join(one if one.isprintable() else "?" for one in value[:MAX_CLAIM])
