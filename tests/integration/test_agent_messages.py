"""What an agent's message must be before it is forwarded: attack rows H08 to H30."""

import json
from typing import Any

import pytest

from tests.helpers.agent import DROP, LEGACY, MODERN, Message, Reply, call, request
from tests.integration.scene import Scene

pytestmark = [
    pytest.mark.system,
    pytest.mark.asyncio(loop_scope="session"),
    pytest.mark.usefixtures("clean"),
]

PARSE, INVALID, UNKNOWN_METHOD, MISMATCH = -32700, -32600, -32601, -32020


async def refused(scene: Scene, reply: Reply, status: int, code: int) -> None:
    """Check the answer, that the upstream saw nothing, and that the next good call works."""
    assert (reply.status, reply.error["code"]) == (status, code), reply.body
    assert reply.values("content-type") == ["application/json"]
    await scene.serves()
    assert [seen.case for seen in scene.upstream.seen] == ["still-serves"]


@pytest.mark.parametrize("modern", [True, False])
async def test_h08_a_method_header_that_differs_is_refused(scene: Scene, modern: bool) -> None:
    headers = [("Mcp-Method", "tools/list")]
    reply = await scene.agent.ask(call("echo", id=3, modern=modern), headers=headers)
    assert reply.error["id"] == 3
    await refused(scene, reply, 400, MISMATCH)


@pytest.mark.parametrize(
    "name", ["read_x", "Echo", "echo2", "=?base64?cmVhZF94?=", "=?base64?ZWNobw?=", "=?base64?!?="]
)
async def test_h09_h11_a_name_header_that_differs_is_refused(scene: Scene, name: str) -> None:
    for modern in (True, False):
        headers = [("Mcp-Name", name), ("Mcp-Method", "tools/call")]
        reply = await scene.agent.ask(call("echo", modern=modern), headers=headers)
        await refused(scene, reply, 400, MISMATCH)
        scene.upstream.seen.clear()


async def test_h09_two_headers_of_one_name_are_refused(scene: Scene) -> None:
    headers = [("Mcp-Name", "echo"), ("Mcp-Name", "echo")]
    reply = await scene.agent.ask(call("echo"), headers=headers)
    await refused(scene, reply, 400, MISMATCH)


@pytest.mark.parametrize("version", [DROP, LEGACY, "2025-03-26", "2026-07-29", "", "x"])
async def test_h12_no_version_header_is_a_way_around_the_check(scene: Scene, version: str) -> None:
    headers = [("MCP-Protocol-Version", version)]
    await refused(scene, await scene.agent.ask(call("echo"), headers=headers), 400, MISMATCH)


@pytest.mark.parametrize("version", [DROP, LEGACY, "2025-03-26"])
async def test_h12_an_old_version_does_not_excuse_a_wrong_name(scene: Scene, version: str) -> None:
    headers = [("MCP-Protocol-Version", version), ("Mcp-Name", "read_x")]
    reply = await scene.agent.ask(call("echo", modern=False), headers=headers)
    await refused(scene, reply, 400, MISMATCH)


@pytest.mark.parametrize("headers", ["Mcp-Method", "Mcp-Name"])
async def test_h12_a_modern_call_must_carry_its_routing_headers(scene: Scene, headers: str) -> None:
    reply = await scene.agent.ask(call("echo"), headers=[(headers, DROP)])
    await refused(scene, reply, 400, MISMATCH)


ONE = json.dumps(call("echo"))


@pytest.mark.parametrize("body", [f"[{ONE},{ONE}]", "[]", f"[[{ONE}]]", '"x"', "1", "null", "true"])
async def test_h13_one_message_a_body(scene: Scene, body: str) -> None:
    await refused(scene, await scene.agent.ask(body.encode()), 400, INVALID)


@pytest.mark.parametrize(
    "body",
    [
        b'{"jsonrpc":"2.0","id":1,"method":"tools/call","method":"ping"}',
        b'{"jsonrpc":"2.0","id":1,"id":2,"method":"ping"}',
        b'{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"read","name":"delete"}}',
        b'{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"r","na\\u006de":"d"}}',
        b'{"jsonrpc":"2.0","id":1,"method":"ping","params":{"arguments":{"a":1,"a":2}}}',
        b'{"jsonrpc":"2.0","id":1,"method":"ping","params":{"x":[{"a":{"b":1,"b":1}}]}}',
    ],
)
async def test_h14_duplicate_keys_are_refused_at_any_depth(scene: Scene, body: bytes) -> None:
    await refused(scene, await scene.agent.ask(body), 400, PARSE)


@pytest.mark.parametrize(
    "params",
    [
        b'{"name":"\xff"}',
        b'{"name":"\xc0\xaf"}',
        b'{"name":"\xed\xa0\x80"}',
        b'{"name":"\\ud800"}',
        b'{"x":NaN}',
        b'{"x":Infinity}',
        b'{"x":-Infinity}',
        b'{"x":1e999}',
        b'{"x":-1e999}',
        b'{"x":01}',
        b'{"x":1.}',
        b'{"x":"\n"}',
        b'{"x":1,}',
        b"{'x':1}",
        b'{"x":1/*c*/}',
        b'{"x":' + b"[" * 100 + b"]" * 100 + b"}",
        b'{"x":1',
    ],
)
async def test_h16_what_readers_disagree_about_is_refused(scene: Scene, params: bytes) -> None:
    body = b'{"jsonrpc":"2.0","id":1,"method":"tools/call","params":' + params + b"}"
    await refused(scene, await scene.agent.ask(body), 400, PARSE)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b" ",
        b"\xef\xbb\xbf" + ONE.encode(),
        ONE.encode("utf-16"),
        ONE.encode() + b"x",
        ONE.encode() + ONE.encode(),
        ONE.encode() + b"\0",
        b"// c\n" + ONE.encode(),
        b"{",
    ],
)
async def test_h16_nothing_stands_around_a_message(scene: Scene, body: bytes) -> None:
    await refused(scene, await scene.agent.ask(body), 400, PARSE)


@pytest.mark.parametrize(
    "method",
    [
        *("sampling/createMessage", "elicitation/create", "roots/list", "x/y", "__proto__"),
        *("tools/Call", "tools/call ", "", "rpc.discover", "notifications/message"),
    ],
)
async def test_h21_only_methods_of_agents_pass(scene: Scene, method: str) -> None:
    legacy = await scene.agent.ask(request(method, modern=False, id="x"))
    assert legacy.error["id"] == "x"
    await refused(scene, legacy, 200, UNKNOWN_METHOD)
    scene.upstream.seen.clear()
    headers = [("Mcp-Method", method.strip())]
    modern = await scene.agent.ask(request(method), headers=headers)
    if method == method.strip():
        await refused(scene, modern, 404, UNKNOWN_METHOD)
    else:
        await refused(scene, modern, 400, MISMATCH)


@pytest.mark.parametrize("params", [{"name": ["admin_x"]}, {}])
@pytest.mark.parametrize("method", ["tools/call", "prompts/get", "resources/read"])
async def test_p31_a_request_that_names_nothing_is_refused(
    scene: Scene, method: str, params: dict[str, Any]
) -> None:
    message = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
    reply = await scene.agent.ask(json.dumps(message).encode())
    await refused(scene, reply, 200, -32602)


@pytest.mark.parametrize(
    "method", ["initialize", "ping", "logging/setLevel", "resources/subscribe"]
)
async def test_h21_the_modern_era_has_no_handshake(scene: Scene, method: str) -> None:
    await refused(scene, await scene.agent.ask(request(method)), 404, UNKNOWN_METHOD)


@pytest.mark.parametrize("modern", [True, False])
async def test_h21_a_notification_nobody_knows_is_dropped(scene: Scene, modern: bool) -> None:
    message = request("notifications/evil", modern=modern)
    del message["id"]
    reply = await scene.agent.ask(message)
    assert (reply.status, reply.body) == (202, b"")
    await scene.serves()
    assert [seen.case for seen in scene.upstream.seen] == ["still-serves"]


async def test_notifications_and_responses_of_the_legacy_era_pass(scene: Scene) -> None:
    told: Message = {"jsonrpc": "2.0", "method": "notifications/initialized"}
    answered: Message = {"jsonrpc": "2.0", "id": 5, "result": {"roots": []}}
    for message in (told, answered):
        reply = await scene.agent.ask(message)
        assert (reply.status, reply.body) == (202, b"")
    assert [seen.document for seen in scene.upstream.seen] == [told, answered]


@pytest.mark.parametrize(
    "message_id",
    ["null", "1.5", "1.0", "{}", "[]", "true", "-0", "1e3", f'"{"x" * 10_000}"', "1" * 300],
)
async def test_h30_an_id_is_a_short_string_or_an_integer(scene: Scene, message_id: str) -> None:
    body = f'{{"jsonrpc":"2.0","id":{message_id},"method":"ping"}}'
    reply = await scene.agent.ask(body.encode())
    assert reply.error["id"] is None
    await refused(scene, reply, 400, INVALID)


@pytest.mark.parametrize(
    "changed",
    [
        {"jsonrpc": "1.0"},
        {"jsonrpc": 2.0},
        {"method": 5},
        {"method": None},
        {"params": []},
        {"params": "x"},
        {"result": {}},
        {"Method": "tools/list"},
        {"ID": 2},
    ],
)
async def test_an_envelope_that_is_not_json_rpc_is_refused(
    scene: Scene, changed: dict[str, Any]
) -> None:
    message = {"jsonrpc": "2.0", "id": 9, "method": "tools/list"} | changed
    reply = await scene.agent.ask(json.dumps(message).encode())
    assert reply.error["id"] == 9
    await refused(scene, reply, 400, INVALID)


async def test_what_passes_reaches_the_upstream_byte_for_byte(scene: Scene) -> None:
    text = '\n {"method":"tools/call" ,"params": {"name":"echo","arguments":{"case":"b","z":1e2,'
    text += (
        '"\\u0061":"\\/\u00e9\\ud83d\\ude00"}, "later":1},"id":"\\u0031","jsonrpc":"2.0" }\r\n\t'
    )
    body = text.encode()
    reply = await scene.agent.ask(body)
    assert reply.document["id"] == "1"
    (seen,) = scene.upstream.calls("b")
    assert seen.body == body


async def test_ids_come_back_as_they_were(scene: Scene) -> None:
    for message_id in (0, -1, 2**53, 10**30, "", "1", "\u00e9\u4e2d", "x" * 256):
        reply = await scene.agent.ask(call("echo", id=message_id))
        assert reply.document["id"] == message_id
        assert type(reply.document["id"]) is type(message_id)


async def test_an_unknown_version_gets_the_upstreams_word(scene: Scene) -> None:
    message = call("echo", case="future")
    message["params"]["_meta"]["io.modelcontextprotocol/protocolVersion"] = "2027-01-01"
    reply = await scene.agent.ask(message, headers=[("MCP-Protocol-Version", "2027-01-01")])
    assert reply.status == 200
    (seen,) = scene.upstream.calls("future")
    assert seen.values("mcp-protocol-version") == ["2027-01-01"]


async def test_the_routing_headers_reach_the_upstream(scene: Scene) -> None:
    shown = [("Mcp-Param-Case", "x"), ("Mcp-Param-User_Id", "ada")]
    reply = await scene.agent.ask(call("headers"), headers=shown)
    told = dict(reply.document["result"]["headers"])
    assert told["mcp-protocol-version"] == MODERN
    assert (told["mcp-method"], told["mcp-name"]) == ("tools/call", "headers")
    assert (told["mcp-param-case"], told["mcp-param-user_id"]) == ("x", "ada")


async def test_two_mirrored_headers_that_a_server_could_read_as_one_are_refused(
    scene: Scene,
) -> None:
    """H32: servers of the CGI kind read `_` as `-`."""
    for second in ("Mcp-Param-User_Id", "Mcp-Param-User-Id"):
        shown = [("Mcp-Param-User_Id", "ada"), (second, "eve")]
        reply = await scene.agent.ask(call("headers", case="alike"), headers=shown)
        assert (reply.status, reply.document["error"]["code"]) == (400, -32020)
    assert scene.upstream.calls("alike") == []
