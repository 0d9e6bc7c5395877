import asyncio
import json
from typing import Any

from shared.errors import ResetCode
from tests.helpers.upstream_peer import BOTH, MODERN, eventually, is_alive, upstream_of

VERSION = (b"mcp-protocol-version", MODERN.encode())


async def test_a_result_that_comes_alone_is_json() -> None:
    async with upstream_of() as peer:
        reply = await peer.modern_call("facts").done()
    assert reply.status == 200
    assert reply.headers[b"content-type"] == b"application/json"
    assert reply.headers[b"content-length"] == str(len(reply.body)).encode()
    assert b"mcp-session-id" not in reply.headers
    assert reply.last["id"] == 1


async def test_progress_makes_the_answer_a_stream_and_names_the_agents_own_token() -> None:
    async with upstream_of() as peer:
        call = peer.modern_call("progress", {"steps": 2}, id="a", meta={"progressToken": 7})
        reply = await call.done()
    assert reply.headers[b"content-type"] == b"text/event-stream"
    assert reply.headers[b"cache-control"] == b"no-cache, no-transform"
    assert reply.headers[b"x-accel-buffering"] == b"no"
    assert reply.body.startswith(b"event: message\ndata: {")
    tokens = [message["params"]["progressToken"] for message in reply.messages[:-1]]
    assert tokens == [7, 7]
    assert reply.last["id"] == "a"
    assert json.loads(reply.text)["token"] not in (7, "7")


async def test_equal_ids_and_tokens_of_two_agents_never_mix() -> None:
    """H27: equal ids at the same time, as number and as string, and reused while pending."""
    async with upstream_of() as peer:
        ids: list[Any] = [1, 1, "1", 1]
        held = [
            peer.modern_call("hold", {"key": f"k{n}"}, id=each, session=f"0000000{n}")
            for n, each in enumerate(ids)
        ]
        told = [
            peer.modern_call(
                "progress",
                {"steps": 3, "padding": n},
                id=1,
                meta={"progressToken": 1},
                session=f"0000000{n}",
            )
            for n in range(4)
        ]
        for n in (2, 0, 3, 1):
            await peer.modern_call("release", {"key": f"k{n}"}).done()
        for n, each in enumerate(ids):
            reply = await held[n].done()
            assert reply.last["id"] == each
            assert type(reply.last["id"]) is type(each)
            assert reply.text == f"k{n}"
        for n in range(4):
            reply = await told[n].done()
            assert {len(message["params"]["message"]) for message in reply.messages[:-1]} == {n}
        assert peer.upstream.children == 1


async def test_a_name_of_ours_never_reaches_the_agent_even_when_it_is_copied() -> None:
    async with upstream_of() as peer:
        reply = await peer.modern("subscriptions/listen", {"notifications": {}}, id=5).count(1)
        meta = reply.last["params"]["_meta"]
        assert meta == {"io.modelcontextprotocol/subscriptionId": 5}


async def test_cancel_tells_the_child_and_the_reply_stays_silent() -> None:
    async with upstream_of() as peer:
        held = peer.modern_call("hold", {"key": "k"}, id=9)
        await peer.modern_call("echo").done()
        assert held.exchange is not None
        held.exchange.cancel()
        seen = json.loads((await peer.modern_call("seen_so_far").done()).text)["seen"]
        assert [message["method"] for message in seen] == ["notifications/cancelled"]
        await peer.modern_call("release", {"key": "k"}).done()
    assert held.status is None
    assert held.failed is None
    assert seen[0]["params"]["requestId"] not in (9, "9")


async def test_cancel_before_anything_was_sent_sends_nothing() -> None:
    async with upstream_of() as peer:
        held = peer.modern_call("echo", {"a": 1})
        assert held.exchange is not None
        held.exchange.cancel()
        seen = json.loads((await peer.modern_call("seen_so_far").done()).text)["seen"]
    assert seen == []
    assert held.status is None


async def test_errors_have_the_status_of_the_reference_server() -> None:
    async with upstream_of() as peer:
        unknown = await peer.modern("prompts/list").done()
        assert (unknown.status, unknown.last["error"]["code"]) == (404, -32601)
        initialize = await peer.modern("initialize").done()
        assert (initialize.status, initialize.last["error"]["code"]) == (404, -32601)


async def test_the_ladder_is_meta_then_headers_then_version() -> None:
    message = {"id": 3, "method": "tools/list", "params": {}}
    listing = (b"mcp-method", b"tools/list")
    old = {"io.modelcontextprotocol/protocolVersion": "2199-01-01"}
    async with upstream_of() as peer:
        no_meta = await peer.send(message, headers=[*BOTH, VERSION]).done()
        assert (no_meta.status, no_meta.last["error"]["code"]) == (400, -32602)
        assert no_meta.last["id"] == 3
        no_header = await peer.modern("tools/list", more=[listing]).done()
        assert (no_header.status, no_header.last["error"]["code"]) == (400, -32020)
        version = await peer.send(
            {**message, "params": {"_meta": {**_meta(), **old}}},
            headers=[*BOTH, (b"mcp-protocol-version", b"2199-01-01"), listing],
        ).done()
        assert (version.status, version.last["error"]["code"]) == (400, -32022)
        assert version.last["error"]["data"] == {"supported": [MODERN], "requested": "2199-01-01"}


def _meta() -> dict[str, Any]:
    return {
        "io.modelcontextprotocol/protocolVersion": MODERN,
        "io.modelcontextprotocol/clientCapabilities": {},
    }


async def test_parameter_headers_are_checked_against_the_tools_schema() -> None:
    region = (b"mcp-param-region", b"eu")
    async with upstream_of() as peer:
        right = await peer.modern_call("echo", {"region": "eu"}, more=[region]).done()
        assert right.status == 200
        for arguments, more in (
            ({"region": "us"}, [region]),
            ({"region": "eu"}, []),
            ({}, [region]),
        ):
            wrong = await peer.modern_call("echo", arguments, more=more).done()
            assert (wrong.status, wrong.last["error"]["code"]) == (400, -32020)


async def test_notifications_are_accepted_and_dropped() -> None:
    cancelled = {"method": "notifications/cancelled", "params": {"requestId": 1}}
    async with upstream_of() as peer:
        held = peer.modern_call("hold", {"key": "k"}, id=1)
        reply = await peer.send(cancelled, headers=[*BOTH, VERSION]).done()
        assert (reply.status, reply.body) == (202, b"")
        seen = json.loads((await peer.modern_call("seen_so_far").done()).text)["seen"]
        assert seen == []
        bad = await peer.send(cancelled, headers=[*BOTH, (b"mcp-protocol-version", b"x")]).done()
        assert (bad.status, bad.last["error"]["code"]) == (400, -32022)
        await peer.modern_call("release", {"key": "k"}).done()
        assert (await held.done()).text == "k"


async def test_methods_and_accept_are_checked_first() -> None:
    async with upstream_of() as peer:
        for method in ("GET", "DELETE", "PUT"):
            reply = await peer.send(None, method=method, headers=[*BOTH, VERSION]).done()
            assert (reply.status, reply.headers[b"allow"]) == (405, b"POST")
        only_json = [(b"accept", b"application/json"), VERSION]
        reply = await peer.send({"id": 1, "method": "tools/list"}, headers=only_json).done()
        assert reply.status == 406
        answer = {"id": 1, "result": {}}
        reply = await peer.send(answer, headers=[*BOTH, VERSION]).done()
        assert (reply.status, reply.last["error"]["code"]) == (400, -32600)
        assert peer.upstream.children == 0


async def test_a_listen_stays_open_and_ends_as_the_server_says() -> None:
    for end, messages in (("result", 3), ("cancelled", 2)):
        async with upstream_of() as peer:
            listen = await peer.modern("subscriptions/listen", {}, id="l").count(1)
            assert not listen.ended
            await peer.modern_call("notify", {"end": end}).done()
            await listen.done()
            assert len(listen.messages) == messages
            assert listen.failed is None


async def test_a_listen_nobody_reads_is_cancelled_at_the_child() -> None:
    async with upstream_of() as peer:
        listen = await peer.modern("subscriptions/listen", {}, id="l").count(1)
        assert listen.exchange is not None
        listen.exchange.cancel()
        seen = json.loads((await peer.modern_call("seen_so_far").done()).text)["seen"]
        assert [message["method"] for message in seen] == ["notifications/cancelled"]


async def test_log_messages_go_to_no_other_session() -> None:
    level = {"io.modelcontextprotocol/logLevel": "info"}
    async with upstream_of() as peer:
        alone = await peer.modern_call("logging", {"say": "mine"}, meta=level).done()
        assert alone.messages[0]["params"]["data"] == "mine"
        other = peer.modern_call("hold", {"key": "k"}, meta=level, session="0ther000")
        mixed = await peer.modern_call("logging", {"say": "mine"}, meta=level).done()
        assert len(mixed.messages) == 1
        await peer.modern_call("release", {"key": "k"}).done()
        assert len((await other.done()).messages) == 1
        silent = await peer.modern_call("logging", {"say": "unasked"}).done()
        assert len(silent.messages) == 1


async def test_a_cancelled_call_may_log_on_but_nobody_else_hears_it() -> None:
    level = {"io.modelcontextprotocol/logLevel": "info"}
    async with upstream_of() as peer:
        arguments = {"say": "secret", "hold": True}
        gone = await peer.modern_call("logging", arguments, meta=level, session="a").count(1)
        assert gone.exchange is not None
        gone.exchange.cancel()
        other = await peer.modern_call("logging", {"say": "b"}, meta=level, session="b").done()
        assert len(other.messages) == 1


async def test_noise_on_stdout_is_skipped() -> None:
    async with upstream_of() as peer:
        reply = await peer.modern_call("noise").done()
        assert reply.text == "after the noise"


async def test_a_crash_fails_what_runs_and_the_next_call_works() -> None:
    async with upstream_of() as peer:
        held = peer.modern_call("hold", {"key": "k"})
        listen = await peer.modern("subscriptions/listen", {}).count(1)
        crashed = await peer.modern_call("crash").done()
        for reply in (held, listen, crashed):
            await reply.done()
            assert reply.failed is ResetCode.UPSTREAM_BROKE
        assert (await peer.modern_call("echo").done()).status == 200


async def test_a_crash_loop_is_answered_with_503_and_then_left_alone() -> None:
    """L10."""
    async with upstream_of("crash", quarantine_after=3) as peer:
        for _ in range(4):
            reply = await peer.modern_call("echo").done()
            assert reply.status == 503
            assert int(reply.headers[b"retry-after"]) >= 1
            error = reply.last["error"]
            assert not -32768 <= error["code"] <= -32000
            assert error["data"] == {"origin": "client", "delivery": "never_sent"}
        await eventually(lambda: peer.upstream.children == 0)


async def test_a_line_over_the_limit_ends_the_child_alone() -> None:
    async with upstream_of(line_bytes=100_000) as peer:
        assert len((await peer.modern_call("long", {"size": 90_000}).done()).text) == 90_000
        reply = await peer.modern_call("long", {"size": 200_000}).done()
        assert reply.failed is ResetCode.UPSTREAM_BROKE
        assert (await peer.modern_call("echo").done()).status == 200


async def test_an_agent_that_does_not_read_loses_its_own_exchange_only() -> None:
    async with upstream_of(exchange_buffer_bytes=50_000) as peer:
        call = {"steps": 100, "padding": 1000}
        slow = peer.modern_call("progress", call, meta={"progressToken": 1})
        slow.ready = False
        quick = peer.modern_call("progress", call, meta={"progressToken": 1})
        assert (await slow.done()).failed is ResetCode.STALLED
        assert len((await quick.done()).messages) == 101


async def test_an_agent_that_reads_again_gets_everything() -> None:
    async with upstream_of() as peer:
        call = {"steps": 20, "padding": 1000}
        slow = peer.modern_call("progress", call, meta={"progressToken": 1})
        slow.ready = False
        await slow.count(1)
        await peer.modern_call("echo").done()
        assert not slow.ended
        slow.ready = True
        assert slow.exchange is not None
        slow.exchange.resume()
        assert len((await slow.done()).messages) == 21


async def test_long_silence_becomes_a_stream_that_can_be_kept_alive() -> None:
    async with upstream_of(commit_after=0.0, sweep=0.02) as peer:
        held = peer.modern_call("hold", {"key": "k"})
        await held.until(lambda: held.status is not None)
        assert held.headers[b"content-type"] == b"text/event-stream"
        await held.until(lambda: held.body.startswith(b": "))
        await peer.modern_call("release", {"key": "k"}).done()
        assert (await held.done()).text == "k"


async def test_one_session_cannot_take_all_places() -> None:
    async with upstream_of(in_flight_per_session=2) as peer:
        held = [peer.modern_call("hold", {"key": key}) for key in "ab"]
        third = await peer.modern_call("echo").done()
        assert third.status == 429
        assert third.last["error"]["data"]["delivery"] == "never_sent"
        other = await peer.modern_call("release", {"key": "a"}, session="0ther000").done()
        assert other.status == 200
        await held[0].done()
        assert (await peer.modern_call("echo").done()).status == 200


async def test_the_end_of_a_session_cuts_its_calls_at_the_child_too() -> None:
    async with upstream_of() as peer:
        mine = peer.modern_call("hold", {"key": "a"}, session="aaaaaaaa")
        other = peer.modern_call("hold", {"key": "b"}, session="bbbbbbbb")
        await peer.modern_call("echo").done()
        peer.upstream.end_session("aaaaaaaa")
        assert mine.failed is ResetCode.REVOKED
        seen = json.loads((await peer.modern_call("seen_so_far").done()).text)["seen"]
        assert len(seen) == 1
        await peer.modern_call("release", {"key": "b"}).done()
        assert (await other.done()).text == "b"


async def test_closing_fails_what_runs_and_leaves_no_process() -> None:
    async with upstream_of() as peer:
        held = peer.modern_call("hold", {"key": "k"})
        pid = json.loads((await peer.modern_call("facts").done()).text)["pid"]
        await peer.upstream.aclose()
        assert held.failed is ResetCode.UPSTREAM_BROKE
        assert not is_alive(pid)
        late = peer.modern_call("echo")
        assert late.failed is ResetCode.REFUSED


async def test_a_thousand_results_in_any_order_reach_who_asked() -> None:
    async with upstream_of() as peer:
        replies = []
        for turn in range(20):
            replies += [peer.modern_call("echo", {"n": turn * 50 + n}, id=n % 3) for n in range(50)]
            await asyncio.gather(*(reply.done() for reply in replies[-50:]))
        for n, reply in enumerate(replies):
            assert json.loads(reply.text) == {"n": n}


async def test_a_child_that_does_not_read_is_asked_for_no_listing() -> None:
    """L09: the call is refused at once, and nothing more waits for the child."""
    async with upstream_of(unsent_bytes=100_000, listing_timeout=3600.0) as peer:
        await peer.modern_call("doze").done()
        peer.modern("prompts/list", {"cursor": "x" * 500_000}, id=2)
        assert (await peer.modern_call("echo", {"a": 1}, id=3).done()).status == 429
