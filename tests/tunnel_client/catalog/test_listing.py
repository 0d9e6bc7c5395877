"""Asking servers for what they offer, in either era, and coming home from those that lie."""

import sys
from pathlib import Path
from typing import Any

import anyio
import pytest

from tests.helpers.consented import make_consented
from tests.helpers.fixture_process import ticket_desk
from tests.helpers.shifty_server import Message, shifty
from tunnel_client.catalog import listing as module
from tunnel_client.catalog.definitions import Kind
from tunnel_client.catalog.listing import Listing, list_upstream
from tunnel_client.errors_upstreams import ListingError
from tunnel_client.settings import UpstreamSettings

TOOL = {"name": "a", "description": "adds", "inputSchema": {"type": "object"}}
SERVER = Path(__file__).parents[2] / "helpers" / "stdio_server.py"


async def listed(**settings: Any) -> Listing:
    environ = {"PATH": "/usr/bin:/bin"}
    upstream = make_consented(UpstreamSettings(name="x", **settings), environ)
    await upstream.start()
    try:
        with anyio.fail_after(60):
            return await list_upstream(upstream)
    finally:
        await upstream.aclose()


def names(found: Listing, kind: Kind = Kind.TOOL) -> list[str]:
    return [item.name for item in found.of(kind)]


async def test_a_ticket_desk_is_listed() -> None:
    async with ticket_desk() as url:
        found = await listed(url=url)
    assert names(found) == ["list_tickets", "open_ticket", "export_tickets"]
    assert found.modern
    assert found.server == "ticket-desk 1"


@pytest.mark.parametrize("program", ["mcp_server_time", "mcp_server_git"])
async def test_real_stdio_servers_are_listed(program: str) -> None:
    found = await listed(command=[sys.executable, "-m", program])
    assert names(found)
    assert not found.twice
    assert found.nameless == 0


@pytest.mark.parametrize("option", [[], ["legacy"], ["old"]])
async def test_a_stdio_server_of_either_era_is_listed(option: list[str]) -> None:
    found = await listed(command=[sys.executable, "-S", str(SERVER), *option])
    assert "echo" in names(found)
    assert found.modern is (option == [])


@pytest.mark.parametrize("modern", [True, False])
@pytest.mark.parametrize("events", [True, False])
async def test_everything_a_server_offers_is_asked_for_once(modern: bool, events: bool) -> None:
    what: dict[str, Any] = {
        "instructions": "be kind",
        "tools": [TOOL],
        "prompts": [{"name": "p"}],
        "resources": [{"uri": "a:b", "name": "r"}],
        "templates": [{"uriTemplate": "a:{b}", "name": "t"}],
    }
    async with shifty(modern=modern, events=events, **what) as server:
        found = await listed(url=server.url)
    assert names(found) == ["a"]
    assert names(found, Kind.PROMPT) == ["p"]
    assert names(found, Kind.RESOURCE) == ["a:b", "a:{b}"]
    assert names(found, Kind.INSTRUCTIONS) == ["instructions"]
    lists = ["tools/list", "prompts/list", "resources/list", "resources/templates/list"]
    if modern:
        assert server.asked == ["server/discover", *lists]
    else:
        # The MCP session that was begun is ended again.
        begin = ["server/discover", "initialize", "notifications/initialized"]
        assert server.asked == [*begin, *lists, "DELETE"]


async def test_pages_are_walked_and_what_is_broken_in_them_is_counted() -> None:
    def pages(method: str, params: Message) -> Message | None:
        if method != "tools/list":
            return None
        if "cursor" not in params:
            return {"tools": [TOOL, {"name": "b"}, 7, {"title": "x"}], "nextCursor": "2"}
        return {"tools": [{"name": "b", "title": "other"}, TOOL, {"name": "c"}]}

    async with shifty(pages=pages) as server:
        found = await listed(url=server.url)
    assert names(found) == ["a", "b", "c"]
    assert found.nameless == 2
    assert set(found.spelled.values()) == {item.sha256 for item in found.of(Kind.TOOL)}
    # P15: one name with two definitions is no name to rely on; the very same entry twice is.
    assert found.twice == {(Kind.TOOL, "b")}


def circle(method: str, params: Message) -> Message:
    return {"tools": [], "nextCursor": "again"}


def endless(method: str, params: Message) -> Message:
    return {"tools": [], "nextCursor": str(int(params.get("cursor", 0)) + 1)}


def crowd(method: str, params: Message) -> Message:
    return {"tools": [{"name": f"t{number}"} for number in range(100_000)]}


def flood(method: str, params: Message) -> Message:
    return {"tools": [{"name": "t", "description": "x" * 17 * 1024 * 1024}]}


def rain(method: str, params: Message) -> Message:
    told = {"name": f"t{params.get('cursor')}", "description": "x" * 7 * 1024 * 1024}
    return {"tools": [told], "nextCursor": str(int(params.get("cursor", 0)) + 1)}


def wrong(method: str, params: Message) -> Any:
    return None if method == "tools/list" else {}


@pytest.mark.parametrize(
    ("pages", "why"),
    [
        (circle, "a cursor came twice"),
        (endless, "more than 100 pages"),
        (crowd, "more than 5000 entries"),
        (flood, "larger than 8 MiB"),
        (rain, "more than 32 MiB"),
    ],
)
async def test_a_server_that_never_comes_to_an_end_is_left(pages: Any, why: str) -> None:
    """D06."""
    async with shifty(pages=pages) as server:
        with pytest.raises(ListingError, match=why) as caught:
            await listed(url=server.url)
    assert caught.value.code == "MT2540"
    assert caught.value.retryable


async def test_a_list_that_is_not_known_is_empty() -> None:
    async with shifty(pages=wrong) as server:
        found = await listed(url=server.url)
    assert found.items == {}


async def test_a_server_that_is_down_is_told() -> None:
    with pytest.raises(ListingError, match="no connection to the upstream"):
        await listed(url="http://127.0.0.1:1/mcp")


async def test_one_that_never_answers_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_ANSWER_SECONDS", 0.2)
    with pytest.raises(ListingError, match="no answer within"):
        await listed(command=["sleep", "600"])


async def test_no_process_is_left_behind() -> None:
    upstream = make_consented(
        UpstreamSettings(name="x", command=[sys.executable, "-S", str(SERVER), "legacy"]), {}
    )
    await upstream.start()
    with anyio.fail_after(60):
        await list_upstream(upstream)
        await upstream.aclose()
    assert upstream.children == 0  # type: ignore[attr-defined]
