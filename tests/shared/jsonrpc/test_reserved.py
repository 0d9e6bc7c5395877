"""What `_meta` and trace headers may not say (row H29)."""

import json
from typing import Any

import pytest

from shared.jsonrpc.envelope import INVALID_PARAMS, EnvelopeError, parse
from shared.jsonrpc.reserved import PREFIX, headers_fault, meta_fault

LONGEST = [("traceparent", 128), ("tracestate", 512), ("baggage", 8192)]


def message(meta: dict[str, Any], part: str = "params") -> bytes:
    """Write a request, or a response, with this `_meta`."""
    method = {"method": "tools/list"} if part == "params" else {}
    return json.dumps({"jsonrpc": "2.0", "id": 7, **method, part: {"_meta": meta}}).encode()


@pytest.mark.parametrize("part", ["params", "result", "error"])
@pytest.mark.parametrize("key", [PREFIX, PREFIX + "session", "MCP-Tunnel/user"])
def test_h29_a_reserved_key_is_refused_whatever_its_case(key: str, part: str) -> None:
    with pytest.raises(EnvelopeError) as refused:
        parse(message({"x": 1, key: "ada"}, part))
    assert (refused.value.code, refused.value.status) == (INVALID_PARAMS, 400)
    assert refused.value.id == 7


@pytest.mark.parametrize(("name", "most"), LONGEST)
def test_h29_trace_context_has_an_end(name: str, most: int) -> None:
    for spelled in (name, name.title()):
        assert parse(message({spelled: "a" * most})).params
        for value in ("a" * (most + 1), "\N{SNOWMAN}" * (most // 3 + 1), ["a"], 1):
            with pytest.raises(EnvelopeError) as refused:
                parse(message({spelled: value}))
            assert refused.value.code == INVALID_PARAMS


@pytest.mark.parametrize(("name", "most"), LONGEST)
def test_h29_and_so_it_has_in_headers(name: str, most: int) -> None:
    field = name.encode()
    assert headers_fault([(field, b"a" * most), (b"other", b"a" * 9000)]) is None
    assert headers_fault([(field, b"a" * (most + 1))])
    half = b"a" * (most // 2)
    assert headers_fault([(field, half), (b"x", b""), (field, half)])


def test_h29_what_else_stands_there_passes() -> None:
    meta = {"tenant": "root", "user": "admin", "mcp-tunnels/x": 1, "com.example/mcp-tunnel/": 2}
    assert meta_fault(meta) is None
    assert parse(message(meta)).params == {"_meta": meta}
