"""What an agent's HTTP request must be before its message counts: attack rows of group H."""

import json

import pytest
from pydantic import SecretStr

from shared.ids import SESSION_PREFIX, new_token
from tests.helpers.agent import DROP, Reply, call, initialize, request
from tests.integration.scene import Scene

pytestmark = [
    pytest.mark.system,
    pytest.mark.asyncio(loop_scope="session"),
    pytest.mark.usefixtures("clean"),
]

RELAY_OWN = range(-31999, -31000)
"""Codes of the relay's own stand outside -32768..-32000."""


async def refused(scene: Scene, reply: Reply, status: int, code: int | None = None) -> None:
    """Check the answer, that the upstream saw nothing, and that the next good call works."""
    assert reply.status == status, (reply.status, reply.body)
    if code is not None:
        assert reply.error["code"] == code
    elif reply.body:
        assert reply.error["code"] in RELAY_OWN
        assert reply.error["data"]["origin"] == "relay"
    assert not reply.values("access-control-allow-origin")
    await scene.serves()
    assert scene.upstream.calls("attack") == []


ATTACK = call("echo", case="attack")


@pytest.mark.parametrize(
    "origin",
    [
        "https://evil.example",
        "null",
        "http://127.0.0.1:1",
        "http://{host}.evil.example",
        "http://evil.example/{host}",
        "https://{host}",
        "",
    ],
)
async def test_h01_a_foreign_origin_is_refused(scene: Scene, origin: str) -> None:
    headers = [("Origin", origin.format(host=scene.agent.host))]
    await refused(scene, await scene.agent.ask(ATTACK, headers=headers), 403)


async def test_h01_a_page_of_the_relay_itself_may_call(scene: Scene) -> None:
    reply = await scene.agent.ask(call("echo"), headers=[("Origin", scene.lab.origin)])
    assert reply.status == 200


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "{host}.evil.example",
        "127.0.0.1.:{port}",
        "{host}.",
        "127.0.0.1:0{port}",
        "127.0.0.1:{port}@evil.example",
        "evil.example@{host}",
        "127.0.0.1",
        "{host},evil.example",
        "",
        DROP,
    ],
)
async def test_h02_a_foreign_host_is_refused(scene: Scene, host: str) -> None:
    host = host.format(host=scene.agent.host, port=scene.lab.port)
    await refused(scene, await scene.agent.ask(ATTACK, headers=[("Host", host)]), 421)


async def test_h02_two_hosts_are_refused(scene: Scene) -> None:
    headers = [("Host", scene.agent.host), ("Host", scene.agent.host)]
    await refused(scene, await scene.agent.ask(ATTACK, headers=headers), 421)


async def test_h04_without_a_token_there_is_a_challenge_and_no_error(scene: Scene) -> None:
    reply = await scene.agent.with_token(None).ask(ATTACK)
    (challenge,) = reply.values("www-authenticate")
    assert challenge.startswith("Bearer ")
    assert "error" not in challenge
    await refused(scene, reply, 401)


@pytest.mark.parametrize(
    "value",
    [
        "",
        "Bearer",
        "Bearer ",
        "Bearer null",
        "Bearer undefined",
        "Basic YWRhOmFkYQ==",
        "{token}",
        "Token {token}",
        "Bearer {token} extra",
        "Bearer {token},{token}",
        "Bearer\t{token}",
        "Bearer {short}",
        "Bearer {unknown}",
        "Bearer mts_\u00e9\u00e9",
    ],
)
async def test_h04_a_bad_token_is_never_anonymous(scene: Scene, value: str) -> None:
    assert scene.agent.token is not None
    token = scene.agent.token.get_secret_value()
    value = value.format(token=token, short=token[:-1], unknown=new_token(SESSION_PREFIX))
    reply = await scene.agent.ask(ATTACK, headers=[("Authorization", value)])
    (challenge,) = reply.values("www-authenticate")
    assert 'error="invalid_token"' in challenge
    without = await scene.agent.with_token(None).ask(ATTACK)
    assert reply.body == without.body
    await refused(scene, reply, 401)


async def test_h04_two_tokens_are_refused(scene: Scene) -> None:
    assert scene.agent.token is not None
    pair = ("Authorization", f"Bearer {scene.agent.token.get_secret_value()}")
    await refused(scene, await scene.agent.ask(ATTACK, headers=[pair, pair]), 400)


@pytest.mark.parametrize("name", ["access_token", "token", "authorization", "session"])
async def test_h05_a_token_in_the_query_opens_nothing_and_is_not_logged(
    scene: Scene, name: str
) -> None:
    grant = await scene.grant()
    assert grant.agent.token is not None
    token = grant.agent.token.get_secret_value()
    there = grant.agent.with_token(None).at(f"{grant.agent.path}?{name}={token}")
    await refused(scene, await there.ask(ATTACK), 401)
    assert token not in scene.log("relay.log")


@pytest.mark.parametrize(
    "path",
    [
        "/t/lab/other/mcp",
        "/t/lab/nonesuch/mcp",
        "/t/elsewhere/server/mcp",
        "/t/lab/server/mcp/",
        "/t/lab/server/",
        "/t/lab/server/../server/mcp",
        "/t/lab/%73erver/mcp",
        "/t/lab//mcp",
        "/t/Lab/server/mcp",
        "/t/",
    ],
)
async def test_h07_a_token_opens_its_own_server_and_no_other(scene: Scene, path: str) -> None:
    reply = await scene.agent.at(path).ask(ATTACK)
    nowhere = await scene.agent.at("/t/lab/really-nowhere/mcp").ask(ATTACK)
    assert (reply.status, reply.body) == (404, nowhere.body)
    assert sorted(reply.headers) == sorted(nowhere.headers)
    await scene.serves()
    assert scene.upstream.calls("attack") == []


async def test_h07_h25_nobody_but_the_relay_says_who_calls(scene: Scene) -> None:
    spoofed = {
        "Cookie": "session=1",
        "X-Api-Key": "k",
        "X-Forwarded-User": "root",
        "X_Forwarded_User": "root",
        "X-Forwarded-For": "10.0.0.1",
        "X-Forwarded-Host": "evil.example",
        "Forwarded": "for=10.0.0.1",
        "X-Upstream-Authorization": "Bearer evil",
        "X-Mcp-Tunnel-User": "root",
        "X-MCP-Tunnel-Session": "root",
        "X-Real-IP": "10.0.0.1",
        "X-Remote-User": "root",
        "Remote-User": "root",
        "Remote_User": "root",
        "X_User": "root",
        "X-Auth-Token": "t",
        "X_Auth_Token": "t",
        "Proxy-Authorization": "Basic eA==",
        "X-Original-URL": "/admin",
        "Via": "1.1 evil",
        "Referer": "https://evil.example/",
        "Sec-Fetch-Site": "none",
    }
    headers = [*spoofed.items(), ("X-Kept", "yes")]
    reply = await scene.agent.ask(call("headers"), headers=headers)
    names = {name for name, _ in reply.document["result"]["headers"]}
    assert not names & {name.lower() for name in spoofed}
    assert not names & {"authorization", "connection", "origin"}
    assert "x-kept" in names
    assert scene.agent.token is not None
    assert scene.agent.token.get_secret_value() not in reply.body.decode()


async def test_h25_connection_cannot_strip_what_is_judged(scene: Scene) -> None:
    named = "close, X-Hop, Mcp-Method, MCP-Protocol-Version, Mcp-Name"
    headers = [("Connection", named), ("X-Hop", "1"), ("X-Stays", "1")]
    reply = await scene.agent.ask(call("headers"), headers=headers)
    told = dict(reply.document["result"]["headers"])
    assert "x-hop" not in told
    assert told["x-stays"] == "1"
    assert (told["mcp-method"], told["mcp-name"]) == ("tools/call", "headers")


async def test_h18_a_compressed_body_is_refused(scene: Scene) -> None:
    for encoding in ("gzip", "deflate", "br", "identity, gzip", "GZIP"):
        headers = [("Content-Encoding", encoding)]
        await refused(scene, await scene.agent.ask(ATTACK, headers=headers), 415)


@pytest.mark.parametrize(
    "media_type",
    [
        "text/plain",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
        "application/jsonx",
        "text/plain; application/json",
        "application/json, text/plain",
        "application/json; charset=utf-7",
        "application/json; charset=utf-16",
        "",
        DROP,
    ],
)
async def test_h19_only_json_is_taken(scene: Scene, media_type: str) -> None:
    headers = [("Content-Type", media_type)]
    await refused(scene, await scene.agent.ask(ATTACK, headers=headers), 415)


async def test_h19_json_may_have_a_charset(scene: Scene) -> None:
    headers = [("Content-Type", "Application/JSON; charset=utf-8")]
    assert (await scene.agent.ask(call("echo"), headers=headers)).status == 200


async def test_h22_a_preflight_from_elsewhere_is_told_nothing(scene: Scene) -> None:
    headers = [
        ("Origin", "https://evil.example"),
        ("Access-Control-Request-Method", "POST"),
        ("Access-Control-Request-Headers", "authorization"),
    ]
    reply = await scene.agent.with_token(None).ask(method="OPTIONS", headers=headers)
    assert reply.status == 403
    assert not [name for name, _ in reply.headers if name.startswith("access-control-")]


@pytest.mark.parametrize("method", ["PUT", "PATCH", "OPTIONS", "TRACE"])
async def test_h23_other_methods_are_refused(scene: Scene, method: str) -> None:
    reply = await scene.agent.ask(ATTACK, method=method)
    assert reply.values("allow") == ["POST, GET, DELETE"]
    await refused(scene, reply, 405)


async def test_h23_a_stream_without_an_mcp_session_gets_the_upstreams_word(scene: Scene) -> None:
    reply = await scene.agent.ask(method="GET")
    assert (reply.status, reply.body) == (405, b"no stream without an MCP session")


@pytest.mark.parametrize("method", ["GET", "DELETE"])
async def test_a_body_on_get_or_delete_is_refused(scene: Scene, method: str) -> None:
    await refused(scene, await scene.agent.ask(ATTACK, method=method), 400)


async def test_h26_forwarded_headers_of_anybody_change_nothing(scene: Scene) -> None:
    headers = [("X-Forwarded-Host", "evil.example"), ("X-Forwarded-Proto", "https")]
    headers += [("X-Forwarded-For", "203.0.113.9")]
    assert (await scene.agent.ask(call("echo"), headers=headers)).status == 200
    assert "203.0.113.9" not in scene.log("relay.log")


async def test_h27_equal_ids_of_two_agents_never_meet(scene: Scene) -> None:
    first, second = await scene.grant(user="ada"), await scene.grant(user="bob")
    agents = [first.agent, second.agent, first.agent, second.agent]
    cases = [f"same-id-{index}" for index in range(4)]
    async with (
        agents[0].open(call("driven", id=7, case=cases[0])) as a,
        agents[1].open(call("driven", id=7, case=cases[1])) as b,
        agents[2].open(call("driven", id=7, case=cases[2])) as c,
        agents[3].open(call("driven", id="7", case=cases[3])) as d,
    ):
        seen = [await scene.upstream.arrived(case) for case in cases]
        for index in (2, 0, 3, 1):
            await seen[index].result({"for": cases[index]})
        replies = [await reply.end() for reply in (a, b, c, d)]
    assert [reply.document["result"]["for"] for reply in replies] == cases
    assert [reply.document["id"] for reply in replies] == [7, 7, 7, "7"]


async def test_h29_what_meta_claims_decides_nothing(scene: Scene) -> None:
    message = call("echo", case="meta-claims")
    claims = {"tunnel": "elsewhere", "upstream": "other", "user": "root", "session": "x"}
    message["params"]["_meta"] |= claims | {"tenant": "root", "traceparent": "00-" + "f" * 120}
    reply = await scene.agent.ask(message)
    assert reply.status == 200
    (seen,) = scene.upstream.calls("meta-claims")
    assert seen.body == json.dumps(message).encode()


async def test_h29_headers_have_a_limit(scene: Scene) -> None:
    for headers in ([("Traceparent", "f" * 33_000)], [(f"X-{n}", "") for n in range(120)]):
        reply = await scene.agent.ask(ATTACK, headers=headers)
        await refused(scene, reply, 431)


async def test_an_unknown_session_prefix_is_refused_like_an_unknown_token(scene: Scene) -> None:
    for token in (new_token("mtj_"), new_token(SESSION_PREFIX)):
        reply = await scene.agent.with_token(SecretStr(token)).ask(ATTACK)
        await refused(scene, reply, 401)


async def test_the_same_answer_for_every_method_without_a_token(scene: Scene) -> None:
    nobody = scene.agent.with_token(None)
    for message in (ATTACK, initialize(), request("tools/list")):
        assert (await nobody.ask(message)).status == 401
    assert (await nobody.ask(method="GET")).status == 401
    assert (await nobody.ask(method="DELETE")).status == 401
