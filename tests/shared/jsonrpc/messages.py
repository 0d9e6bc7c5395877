"""Messages the tests of this folder start from, and the refusal of one."""

import json
from typing import Any

import pytest

from shared.jsonrpc.envelope import EnvelopeError, parse

VERSION = "2026-07-28"
META: dict[str, Any] = {
    "io.modelcontextprotocol/protocolVersion": VERSION,
    "io.modelcontextprotocol/clientCapabilities": {},
    "io.modelcontextprotocol/clientInfo": {"name": "example-agent", "version": "1.4.2"},
}


def encode(document: object) -> bytes:
    return json.dumps(document, separators=(",", ":"), ensure_ascii=False).encode()


def request(method: str = "tools/call", **params: Any) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": 7, "method": method, "params": params}


def modern(method: str = "tools/call", **params: Any) -> dict[str, Any]:
    return request(method, **params, _meta=META)


def with_arguments(arguments: bytes) -> bytes:
    """Return a call with these bytes as its arguments, for what `json` cannot write."""
    return (
        b'{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{"name":"read","arguments":'
        + arguments
        + b"}}"
    )


def refused(body: bytes) -> EnvelopeError:
    """Return the error that reading this message ends in."""
    with pytest.raises(EnvelopeError) as caught:
        parse(body)
    assert caught.value.status == 400
    return caught.value
