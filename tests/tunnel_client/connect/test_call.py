"""How one call ends: its answer is read to the end, and nobody waits for that."""

import pytest

from tests.helpers.agent import Message, call, request
from tests.helpers.recording_upstream import RecordingUpstream, Seen
from tests.tunnel_client.connect.making import Bridge, bridge
from tunnel_client.connect import call as calls
from tunnel_client.connect import http, listing


@pytest.fixture
def _patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """An end that comes late on a busy machine is still an end that came."""
    for each in (calls, http, listing):
        monkeypatch.setattr(each, "LINGER_SECONDS", 60.0)


def result(seen: Seen) -> Message:
    return {"jsonrpc": "2.0", "id": seen.document["id"], "result": {"content": []}}


async def streamed(made: Bridge, case: str, *, modern: bool = True) -> Seen:
    """Have a call answered on a stream, whose end is still to come."""
    made.agent.send(call("driven", case=case, modern=modern))
    seen = await made.upstream.arrived(case)
    await seen.event_stream()
    await seen.event(result(seen))
    assert (await made.agent.receive())["id"] == 1
    return seen


async def is_used_again(made: Bridge, seen: Seen, *, modern: bool = True) -> bool:
    """Tell whether a later call takes the connection of an earlier one.

    The end of the earlier answer and the next call race each other: not every next one takes it.
    """
    for number in range(20):
        case = f"after-{seen.case}-{number}"
        made.agent.send(call("echo", id=number, case=case, modern=modern))
        await made.agent.receive()
        if made.upstream.calls(case)[0].closed is seen.closed:
            return True
    return False


@pytest.mark.usefixtures("_patient")
@pytest.mark.parametrize("modern", [True, False])
async def test_an_answer_is_read_to_its_end_and_its_connection_is_used_again(modern: bool) -> None:
    """To a relay, who leaves before the end may not have the answer."""
    async with bridge() as made:
        if not modern:
            await made.begin()
        seen = await streamed(made, "whole", modern=modern)
        await seen.end()
        assert await is_used_again(made, seen, modern=modern)


async def test_a_stream_that_stays_open_is_closed_and_holds_nobody_up() -> None:
    async with bridge() as made:
        seen = await streamed(made, "open")
        await seen.event({"jsonrpc": "2.0", "method": "notifications/message", "params": {}})
        # The id is free again, though the stream is still there.
        made.agent.send(call("echo", id=1, case="same"))
        assert "content" in (await made.agent.receive())["result"]
        await made.upstream.until(seen.closed.is_set)
    assert made.notes.said == []


@pytest.mark.usefixtures("_patient")
async def test_an_answer_that_came_is_not_cancelled_any_more() -> None:
    """The cancellation crossed it: the stream is not broken off, the server hears the message."""
    async with bridge() as made:
        seen = await streamed(made, "late")
        about = {"requestId": 1}
        made.agent.send({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": about})
        await made.upstream.until(lambda: b"cancelled" in made.upstream.seen[-1].body)
        await seen.end()
        assert await is_used_again(made, seen)


class Chunked(RecordingUpstream):
    """Ends no answer together with its head; lists its tools on a stream."""

    async def serve(self, seen: Seen) -> None:
        if "id" not in seen.document:
            await seen.answer(202, b" ", chunked=True)
        elif seen.document["method"] == "tools/list":
            await seen.event_stream()
            await seen.event({"jsonrpc": "2.0", "id": seen.document["id"], "result": {"tools": []}})
            await seen.end()
        elif "mcp-param-region" not in dict(seen.headers) and seen.case == "unlisted":
            body = b'{"jsonrpc":"2.0","id":1,"error":{"code":-32020,"message":"header"}}'
            await seen.answer(400, body, [("Content-Type", "application/json")])
        else:
            await super().serve(seen)


@pytest.mark.usefixtures("_patient")
async def test_a_message_without_an_answer_leaves_its_connection_to_the_next() -> None:
    async with bridge(Chunked()) as made:
        made.agent.send({"jsonrpc": "2.0", "method": "notifications/roots/list_changed"})
        await made.upstream.until(lambda: made.upstream.seen)
        assert await is_used_again(made, made.upstream.seen[0])


@pytest.mark.usefixtures("_patient")
async def test_a_listing_of_our_own_leaves_its_connection_to_the_next() -> None:
    async with bridge(Chunked()) as made:
        made.agent.send(call("echo", case="unlisted", region="north"))
        assert "error" in await made.agent.receive()
        (listed,) = [s for s in made.upstream.seen if s.document["method"] == "tools/list"]
        assert await is_used_again(made, listed)
        made.agent.send(request("tools/list"))
        assert "result" in await made.agent.receive()
