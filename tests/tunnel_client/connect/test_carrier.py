"""Messages between an agent on pipes and a real HTTP server, both as tests drive them."""

import json
from typing import Any

import anyio
import pytest

from tests.helpers.agent import call, request
from tests.helpers.recording_upstream import RecordingUpstream, Seen
from tests.tunnel_client.connect.making import TOKEN, bridge
from tunnel_client.connect import carrier


def driven(case: str, **more: Any) -> dict[str, Any]:
    return call("driven", case=case, **more)


def result(seen: Seen) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": seen.document["id"], "result": {"content": []}}


async def test_a_modern_call_carries_its_headers_and_the_bytes_as_they_came() -> None:
    async with bridge() as made:
        line = json.dumps(call("echo", id="ä", case="é")).encode().replace(b", ", b" ,  ")
        made.agent.send(line)
        assert (await made.agent.receive())["id"] == "ä"
        (seen,) = made.upstream.calls("é")
        assert seen.body == line
        assert seen.values("mcp-protocol-version") == ["2026-07-28"]
        assert (seen.values("mcp-method"), seen.values("mcp-name")) == (["tools/call"], ["echo"])
        assert seen.values("accept") == ["application/json, text/event-stream"]
        assert seen.values("authorization") == [f"Bearer {TOKEN.get_secret_value()}"]
        assert seen.values("mcp-session-id") == []


async def test_a_legacy_agent_keeps_its_session_listens_and_says_goodbye() -> None:
    async with bridge() as made:
        await made.begin()
        (stream,) = await made.upstream.streams()
        assert stream.values("mcp-session-id") == ["upstream-own-session-1"]
        assert stream.values("mcp-protocol-version") == ["2025-11-25"]
        await stream.event_stream()
        await stream.event({"jsonrpc": "2.0", "id": 7, "method": "roots/list"})
        assert (await made.agent.receive())["method"] == "roots/list"
        made.agent.send({"jsonrpc": "2.0", "id": 7, "result": {"roots": []}})
        await made.upstream.until(lambda: any("result" in s.document for s in made.upstream.seen))
        made.agent.send(call("echo", modern=False, case="legacy"))
        assert "result" in await made.agent.receive()
        (seen,) = made.upstream.calls("legacy")
        assert seen.values("mcp-session-id") == ["upstream-own-session-1"]
        assert seen.values("mcp-protocol-version") == ["2025-11-25"]
        assert seen.values("mcp-method") == []
    first, *_, last = made.upstream.seen
    assert first.values("mcp-protocol-version") == first.values("mcp-session-id") == []
    assert (last.method, last.values("mcp-session-id")) == ("DELETE", ["upstream-own-session-1"])


async def test_nothing_overtakes_initialized() -> None:
    async with bridge() as made:
        await made.begin()
        made.agent.send(call("echo", modern=False, case="next"))
        await made.agent.receive()
        posts = [seen.document.get("method") for seen in made.upstream.seen if seen.body]
        assert posts == ["initialize", "notifications/initialized", "tools/call"]


async def test_an_ended_mcp_session_is_told_and_a_new_one_begins() -> None:
    async with bridge() as made:
        await made.begin()
        made.upstream.sessions.clear()
        made.agent.send(call("echo", modern=False, case="late"))
        error = (await made.agent.receive())["error"]
        assert error["data"]["code"] == "MT2056"
        assert "reconnect this server" in error["message"]
        await made.begin()
        made.agent.send(call("echo", modern=False, case="anew"))
        assert "result" in await made.agent.receive()


async def test_events_pass_as_they_come_and_only_whole_lines() -> None:
    async with bridge() as made:
        made.agent.send(driven("stream", id=5))
        seen = await made.upstream.arrived("stream")
        await seen.event_stream()
        progress = {"jsonrpc": "2.0", "method": "notifications/progress", "params": {}}
        pretty = json.dumps(progress, indent=1).replace("\n", "\r\ndata: ").encode()
        await seen.chunk(b": hello\r\n\r\ndata: " + pretty + b"\r\n\r\n")
        assert await made.agent.receive() == progress
        await seen.event(result(seen))
        assert (await made.agent.receive())["id"] == 5


async def test_a_cancelled_modern_call_closes_its_stream_and_gets_no_answer() -> None:
    async with bridge() as made:
        made.agent.send(driven("gone", id=1))
        seen = await made.upstream.arrived("gone")
        await seen.event_stream()
        cancel = {"requestId": 1}
        made.agent.send({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": cancel})
        with anyio.fail_after(20):
            await seen.closed.wait()
        made.agent.send(call("echo", id=2, case="after"))
        assert (await made.agent.receive())["id"] == 2
        assert all(b"cancelled" not in each.body for each in made.upstream.seen)


async def test_a_cancelled_legacy_call_tells_the_server_and_may_still_be_answered() -> None:
    async with bridge() as made:
        await made.begin()
        made.agent.send(driven("slow", id=1, modern=False))
        seen = await made.upstream.arrived("slow")
        cancel = {"requestId": 1}
        made.agent.send({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": cancel})
        await made.upstream.until(lambda: any(b"cancelled" in s.body for s in made.upstream.seen))
        await seen.answer(200, json.dumps(result(seen)).encode(), [JSON])
        assert (await made.agent.receive())["id"] == 1


JSON = ("Content-Type", "application/json")


async def test_a_legacy_stream_that_breaks_is_resumed_after_its_last_event() -> None:
    async with bridge() as made:
        await made.begin()
        (own,) = await made.upstream.streams()
        made.agent.send(driven("resumed", id=3, modern=False))
        seen = await made.upstream.arrived("resumed")
        await seen.event_stream()
        await seen.chunk(b"id: e-1\nretry: 1\ndata:\n\n")
        seen.cut()
        _, again = await made.upstream.streams(2)
        assert again.values("last-event-id") == ["e-1"]
        assert own.values("last-event-id") == []
        await again.event_stream()
        await again.event(result(seen))
        assert (await made.agent.receive())["id"] == 3


@pytest.mark.parametrize("headed", [True, False])
async def test_a_call_that_broke_off_is_told_as_unknown_and_never_sent_again(headed: bool) -> None:
    async with bridge() as made:
        made.agent.send(driven("broken", id=4))
        seen = await made.upstream.arrived("broken")
        if headed:
            await seen.event_stream()
        seen.cut()
        answer = await made.agent.receive()
        assert (answer["id"], answer["error"]["code"]) == (4, -31002)
        assert answer["error"]["data"]["delivery"] == "unknown"
        assert len(made.upstream.calls("broken")) == 1


async def test_a_server_that_is_not_there_is_told_as_never_sent() -> None:
    state = Elsewhere()
    async with bridge(state) as made:
        made.agent.send(call("echo", id=2, case="nowhere"))
        error = (await made.agent.receive())["error"]
        assert error["data"] == {
            "origin": "tunnel-client",
            "code": "MT2202",
            "delivery": "never_sent",
        }


class Elsewhere(RecordingUpstream):
    """Is not where its URL says."""

    @property
    def url(self) -> str:
        return "http://127.0.0.1:1/mcp"


async def test_an_error_of_the_server_passes_with_the_callers_id() -> None:
    async with bridge() as made:
        body = json.dumps({"jsonrpc": "2.0", "id": None, "error": {"code": -32022, "message": "m"}})
        made.agent.send(call("status", id="q", status=400, body=body))
        told = await made.agent.receive()
        assert (told["id"], told["error"]) == ("q", {"code": -32022, "message": "m"})


@pytest.mark.parametrize(("status", "delivery"), [(302, "never_sent"), (502, "unknown")])
async def test_a_status_without_words_is_explained_and_no_redirect_is_followed(
    status: int, delivery: str
) -> None:
    """R03."""
    async with bridge() as made:
        made.agent.send(driven("page", id=1))
        seen = await made.upstream.arrived("page")
        await seen.answer(status, b"<html>", [("Location", made.upstream.url + "/elsewhere")])
        error = (await made.agent.receive())["error"]
        assert str(status) in error["message"]
        assert error["data"] == {
            "origin": "tunnel-client",
            "code": "MT2057",
            "delivery": delivery,
        }
        assert [each.target for each in made.upstream.seen] == ["/mcp"]


async def test_a_page_in_place_of_mcp_is_named() -> None:
    async with bridge() as made:
        made.agent.send(driven("html", id=1))
        seen = await made.upstream.arrived("html")
        await seen.answer(200, b"<html>", [("Content-Type", "text/html; charset=utf-8")])
        assert "text/html" in (await made.agent.receive())["error"]["message"]


async def test_a_refused_token_is_told_with_what_to_do() -> None:
    async with bridge() as made:
        made.agent.send(driven("401", id=1))
        seen = await made.upstream.arrived("401")
        await seen.answer(401, b"", [("WWW-Authenticate", "Bearer")])
        error = (await made.agent.receive())["error"]
        assert (error["code"], error["data"]["code"]) == (-31004, "MT2055")
        assert "session create" in error["message"]
        assert TOKEN.get_secret_value() not in json.dumps(error)


async def test_answers_nobody_asked_for_do_not_reach_the_agent() -> None:
    async with bridge() as made:
        made.agent.send(driven("mine", id=1))
        seen = await made.upstream.arrived("mine")
        await seen.event_stream()
        for identity in (2, "1", 1.0, True):
            await seen.event({"jsonrpc": "2.0", "id": identity, "result": {"forged": True}})
        await seen.chunk(b"data: no json\n\ndata: [1]\n\n")
        await seen.event(result(seen))
        assert await made.agent.receive() == result(seen)
        assert made.notes.said


async def test_a_tools_parameter_headers_are_learnt_from_the_listing() -> None:
    class Listing(RecordingUpstream):
        async def serve(self, seen: Seen) -> None:
            if seen.document.get("method") != "tools/list":
                await super().serve(seen)
                return
            schema = {"properties": {"region": {"type": "string", "x-mcp-header": "Region"}}}
            await seen.result({"tools": [{"name": "echo", "inputSchema": schema}]})

    async with bridge(Listing()) as made:
        made.agent.send(request("tools/list", id=1))
        await made.agent.receive()
        made.agent.send(call("echo", id=2, case="c", region="Zürich"))
        await made.agent.receive()
        assert made.upstream.calls("c")[0].values("mcp-param-region") == ["=?base64?WsO8cmljaA==?="]


async def test_what_is_no_message_is_refused_here() -> None:
    async with bridge() as made:
        made.agent.send(b'{"jsonrpc":"2.0","id":1,"method":"a","method":"b"}')
        assert (await made.agent.receive())["error"]["code"] == -32700
        made.agent.send(b"[]")
        assert (await made.agent.receive())["error"]["code"] == -32600
        made.agent.send(b"  \r")
        made.agent.send(call("echo", id=9, case="fine"))
        assert (await made.agent.receive())["id"] == 9
        assert len(made.upstream.seen) == 1


async def test_requests_run_beside_each_other_up_to_a_bound(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(carrier, "MAX_PENDING", 3)
    async with bridge() as made:
        for number in range(3):
            made.agent.send(driven(f"many-{number}", id=number))
        held = [await made.upstream.arrived(f"many-{number}") for number in range(3)]
        made.agent.send(driven("one-more", id=3))
        assert (await made.agent.receive())["error"]["data"]["code"] == "MT2058"
        made.agent.send(driven("again", id=2))
        made.agent.send(driven("behind", id=4))
        assert (await made.agent.receive())["id"] == 4  # so the one before was read as well
        for seen in reversed(held):
            await seen.result({})
        assert [(await made.agent.receive())["id"] for _ in held] == [2, 1, 0]
        assert made.upstream.calls("again") == []


async def test_a_large_answer_passes_whole() -> None:
    async with bridge() as made:
        made.agent.send(call("big", id=1, bytes=6 * 1024 * 1024))
        assert len(await made.agent.line()) == 6 * 1024 * 1024 + 1


async def test_the_end_of_the_agents_pipe_waits_for_what_is_about_to_be_answered() -> None:
    async with bridge() as made:
        made.agent.send(call("echo", id=1, case="last"))
        made.agent.leave()
        assert (await made.agent.receive())["id"] == 1


async def test_an_agent_that_no_longer_reads_ends_the_bridge() -> None:
    async with bridge() as made:
        made.agent.send(driven("unread", id=1))
        seen = await made.upstream.arrived("unread")
        made.agent.stop_reading()
        await seen.result({})
        with anyio.fail_after(20):
            await made.ended.wait()


class Strict(RecordingUpstream):
    """Wants the header that its tool's schema names, and lists its tools on two pages."""

    def __init__(self, listed: str) -> None:
        super().__init__()
        self.listed = listed

    async def serve(self, seen: Seen) -> None:
        document = seen.document
        if document.get("method") == "tools/list":
            if "cursor" not in document["params"]:
                await seen.result({"tools": [], "nextCursor": "2"})
                return
            schema = {"properties": {"region": {"type": "string", "x-mcp-header": "Region"}}}
            await seen.event_stream()
            tools = {"tools": [{"name": self.listed, "inputSchema": schema}]}
            await seen.event({"jsonrpc": "2.0", "method": "notifications/message"})
            await seen.event({"jsonrpc": "2.0", "id": document["id"], "result": tools})
            await seen.end()
        elif seen.values("mcp-param-region") or document["params"]["name"] != "echo":
            await super().serve(seen)
        else:
            error = {"jsonrpc": "2.0", "id": 1, "error": {"code": -32020, "message": "header"}}
            await seen.answer(400, json.dumps(error).encode(), [JSON])


async def test_a_tool_that_was_never_listed_is_looked_up_when_its_call_lacks_a_header() -> None:
    async with bridge(Strict("echo")) as made:
        made.agent.send(call("echo", id=1, case="unlisted", region="north"))
        assert "result" in await made.agent.receive()
        methods = [seen.document["method"] for seen in made.upstream.seen]
        assert methods == ["tools/call", "tools/list", "tools/list", "tools/call"]
        assert made.upstream.seen[1].document["params"].keys() == {"_meta"}


async def test_a_header_that_stays_wrong_is_told_and_not_tried_forever() -> None:
    async with bridge(Strict("other")) as made:
        made.agent.send(call("echo", id=1, case="wrong", region="north"))
        assert (await made.agent.receive())["error"]["code"] == -32020
        assert len(made.upstream.calls("wrong")) == 2
        body = json.dumps({"error": {"code": -32602, "message": "m"}})
        made.agent.send(call("status", id=2, status=400, body=body))
        assert (await made.agent.receive())["error"]["code"] == -32602
