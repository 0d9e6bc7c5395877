"""What agents asked is told apart from what the client asks for itself, whenever it does."""

import json

import pytest

from tests.helpers.agent import Agent, call, initialize, request
from tests.helpers.recording_upstream import RecordingUpstream, recording_upstream
from tests.tunnel_client.catalog.test_listing import listed


async def test_a_listing_of_the_clients_own_is_nothing_that_an_agent_asked() -> None:
    async with recording_upstream() as upstream:
        await listed(url=upstream.url)
        assert upstream.seen == []
        assert [seen.document.get("method", seen.method) for seen in upstream.own] == [
            *("server/discover", "initialize", "notifications/initialized", "tools/list"),
            "DELETE",
        ]
        assert upstream.own_sessions == upstream.sessions == set()


async def test_one_in_the_modern_era_neither() -> None:
    modern = RecordingUpstream()
    modern.results["server/discover"] = {"supportedVersions": ["2026-07-28"]}
    async with recording_upstream(modern) as upstream:
        await listed(url=upstream.url)
        assert upstream.seen == []
        assert len(upstream.own) == 2


@pytest.mark.parametrize("params", [None, [], {"clientInfo": "tunnel-client"}, {"_meta": []}])
async def test_what_agents_ask_is_theirs_whatever_it_holds(params: object) -> None:
    async with recording_upstream() as upstream:
        odd = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "ping", "params": params})
        for message in (odd.encode(), call("echo"), initialize(), request("tools/list")):
            await Agent(upstream.port, "/mcp", None).ask(message)
        assert len(upstream.seen) == 4
        assert len(upstream.sessions) == 1
        assert upstream.own == []
