import json
from pathlib import Path

from shared.jsonrpc.envelope import parse
from tests.helpers.upstream_peer import BOTH, KeptReply, Peer, eventually, upstream_of
from tests.tunnel_client.upstream.test_stdio_legacy import started
from tunnel_client.upstream.base import UpstreamRequest


async def seen_by_the_server(peer: Peer) -> dict[str, list[dict[str, object]]]:
    reply = await peer.legacy_call("s", "seen_so_far", id="seen").done()
    found: dict[str, list[dict[str, object]]] = json.loads(reply.text)
    return found


async def test_a_call_is_answered_as_a_stream_of_its_own() -> None:
    async with upstream_of() as peer:
        await started(peer)
        reply = await peer.legacy_call("s", "progress", {"steps": 2}, token="t").done()
        assert reply.headers[b"mcp-session-id"] == b"s"
        assert [message.get("method") for message in reply.messages] == [
            "notifications/progress",
            "notifications/progress",
            None,
        ]
        assert reply.messages[0]["params"]["progressToken"] == "t"


async def test_progress_goes_to_the_call_that_gave_the_token() -> None:
    async with upstream_of() as peer:
        await started(peer)
        calls = [
            peer.legacy_call("s", "progress", {"steps": 3, "padding": n}, id=n, token=n)
            for n in (1, 2)
        ]
        for n, call in zip((1, 2), calls, strict=True):
            told = (await call.done()).messages[:-1]
            assert [message["params"]["progressToken"] for message in told] == [n, n, n]


async def test_what_the_server_asks_goes_out_on_the_open_call_and_the_answer_back_in() -> None:
    async with upstream_of() as peer:
        await started(peer)
        get = peer.get("s")
        held = peer.legacy_call("s", "hold", {"key": "k"}, id=1)
        asked = await peer.legacy_call("s", "ask", id=2).done()
        assert asked.messages[0]["method"] == "roots/list"
        answer = {"id": asked.messages[0]["id"], "result": {"roots": []}}
        assert peer.send(answer, mcp_session="s").status == 202
        assert (await seen_by_the_server(peer))["answers"] == [{"jsonrpc": "2.0", **answer}]
        assert get.messages == []
        assert held.messages == []


async def test_what_concerns_no_call_goes_to_the_get_stream() -> None:
    async with upstream_of() as peer:
        await started(peer)
        get = peer.get("s")
        announced = await peer.legacy_call("s", "announce").done()
        assert len(announced.messages) == 1
        assert (await get.count(1)).last["method"] == "notifications/tools/list_changed"
        await peer.legacy_call("s", "later", id=2).done()
        assert (await get.count(2)).last["id"] == "later-0"


async def test_noise_on_stdout_is_skipped() -> None:
    async with upstream_of() as peer:
        await started(peer)
        assert (await peer.legacy_call("s", "noise").done()).text == "after the noise"


async def test_a_message_without_a_stream_waits_for_the_next() -> None:
    async with upstream_of() as peer:
        await started(peer)
        held = peer.legacy_call("s", "hold", {"key": "k"}, id=1)
        assert held.exchange is not None
        held.exchange.cancel()
        await peer.legacy_call("s", "later", id=2).done()
        get = await peer.get("s").count(1)
        assert get.last["id"] == "later-0"


async def test_what_waits_is_bounded_and_the_server_is_told_when_nobody_listens(
    tmp_path: Path,
) -> None:
    answers = tmp_path / "answers"
    answers.touch()
    async with upstream_of(queued_messages=2, env={"ANSWERS": str(answers)}) as peer:
        await started(peer)
        await peer.legacy_call("s", "later", {"count": 5}).done()
        await eventually(lambda: answers.read_text().endswith("later-4\n"))
        assert answers.read_text().split() == ["later-2", "later-3", "later-4"]
        get = await peer.get("s").count(2)
        assert [message["id"] for message in get.messages] == ["later-0", "later-1"]


async def test_a_server_that_asks_for_ever_and_never_reads_is_ended() -> None:
    """L09: what we answer it would wait here, as much of it as it likes."""
    async with upstream_of(unsent_bytes=500_000) as peer:
        await started(peer)
        await peer.legacy_call("s", "flood", {"size": 65_536}).done()
        await eventually(lambda: peer.upstream.children == 0)
        assert (await peer.legacy_call("s", "echo").done()).status == 404


async def test_one_get_stream_and_a_second_one_when_the_first_is_gone() -> None:
    async with upstream_of() as peer:
        await started(peer)
        first = peer.get("s")
        second = await peer.get("s").done()
        assert (second.status, second.last["error"]["code"]) == (409, -32600)
        assert first.exchange is not None
        first.exchange.cancel()
        assert peer.get("s").status == 200


async def test_an_agent_that_leaves_stops_no_work() -> None:
    async with upstream_of() as peer:
        await started(peer)
        held = peer.legacy_call("s", "hold", {"key": "k"}, id=1)
        assert held.exchange is not None
        held.exchange.cancel()
        assert (await seen_by_the_server(peer))["seen"] == [
            {"jsonrpc": "2.0", "method": "notifications/initialized"}
        ]
        await peer.legacy_call("s", "release", {"key": "k"}, id=2).done()
        assert held.body == b""


async def test_a_cancelled_call_ends_like_at_the_reference_server() -> None:
    cancelled = {"method": "notifications/cancelled", "params": {"requestId": 1}}
    async with upstream_of() as peer:
        await started(peer)
        held = peer.legacy_call("s", "hold", {"key": "k"}, id=1)
        assert peer.send(cancelled, mcp_session="s").status == 202
        assert (await held.done()).last["error"]["code"] == -32800
        assert (await seen_by_the_server(peer))["seen"][-1]["params"] == {"requestId": 1}
        await peer.legacy_call("s", "release", {"key": "k"}, id=2).done()


async def test_an_agent_that_does_not_read_holds_its_own_child_back() -> None:
    async with upstream_of() as peer:
        for name in "sb":
            await started(peer, name)
        slow = KeptReply()
        slow.ready = False
        call = {"steps": 400, "padding": 10_000}
        peer.legacy_call("s", "progress", call, token=1, reply=slow)
        await slow.count(1)
        await peer.legacy_call("b", "progress", call, token=1).done()
        assert not slow.ended
        assert len(slow.body) < 4_000_000
        slow.ready = True
        assert slow.exchange is not None
        slow.exchange.resume()
        assert len((await slow.done()).messages) == 401


async def test_a_broken_stream_is_resumed_where_it_broke() -> None:
    version = (b"mcp-protocol-version", b"2025-11-25")
    async with upstream_of(commit_after=0.0, sweep=0.02) as peer:
        await started(peer, version="2025-11-25")
        held = peer.legacy_call("s", "hold", {"key": "k"}, id=1, headers=[*BOTH, version])
        await held.until(lambda: bool(held.event_ids))
        primed = held.event_ids[0]
        assert held.body.endswith(b"data: \n\n")
        assert held.exchange is not None
        held.exchange.cancel()
        back = peer.get("s", version, (b"last-event-id", primed.encode()))
        assert not back.ended
        await peer.legacy_call("s", "release", {"key": "k"}, id=2).done()
        assert (await back.done()).text == "k"
        # The same again once everything was said: replayed, and over.
        again = await peer.get("s", version, (b"last-event-id", primed.encode())).done()
        assert again.text == "k"
        other = [each for each in again.event_ids if each.split("-")[0] != primed.split("-")[0]]
        assert other == []


async def test_a_large_answer_is_json_unless_something_was_said_before() -> None:
    """Agents made with the Python SDK refuse an event above 1 MiB, but not such a body."""
    version = (b"mcp-protocol-version", b"2025-11-25")
    async with upstream_of() as peer:
        await started(peer, version="2025-11-25")
        call = {"size": 2_000_000}
        alone = await peer.legacy_call("s", "long", call, headers=[*BOTH, version]).done()
        assert alone.headers[b"content-type"] == b"application/json"
        assert alone.headers[b"mcp-session-id"] == b"s"
        assert len(alone.text) == 2_000_000
        small = await peer.legacy_call("s", "long", {"size": 9}, headers=[*BOTH, version]).done()
        assert small.headers[b"content-type"] == b"text/event-stream"
        assert small.body.startswith(b"id: ")
    async with upstream_of(commit_after=0.0, sweep=0.02) as peer:
        await started(peer)
        held = peer.legacy_call("s", "hold", {"key": "x" * 2_000_000}, id=1)
        await held.until(lambda: held.status is not None)
        await peer.legacy_call("s", "release", {"key": "x" * 2_000_000}, id=2).done()
        assert (await held.done()).headers[b"content-type"] == b"text/event-stream"
        assert len(held.text) == 2_000_000


async def test_a_get_that_resumes_takes_over_from_the_one_that_hangs() -> None:
    async with upstream_of() as peer:
        await started(peer)
        first = peer.get("s")
        await peer.legacy_call("s", "announce").done()
        last = (await first.count(1)).event_ids[-1]
        second = peer.get("s", (b"last-event-id", last.encode()))
        assert first.ended
        await peer.legacy_call("s", "announce").done()
        assert (await second.count(1)).last["method"] == "notifications/tools/list_changed"
        unknown = await peer.get("s", (b"last-event-id", b"bogus")).done()
        assert unknown.status == 409


async def test_line_breaks_in_a_body_do_not_break_the_line() -> None:
    async with upstream_of() as peer:
        await started(peer)
        reply = KeptReply()
        body = b'{\r\n"jsonrpc": "2.0", "id": 1,\n"method": "tools/call",\r"params": '
        body += b'{"name": "echo", "arguments": {"a": "x\\ny"}}}\n'
        request = UpstreamRequest("POST", BOTH, body, parse(body), "5e551011", "s")
        peer.upstream.open(request, reply)
        assert json.loads((await reply.done()).text) == {"a": "x\ny"}
