from typing import Any

from shared.wire.limits import MIB
from tests.helpers.upstream_peer import eventually
from tunnel_client.upstream.stdio_command import StdioLimits
from tunnel_client.upstream.stdio_router import Answered
from tunnel_client.upstream.stdio_schemas import ToolSchemas

SCHEMA = {"type": "object", "properties": {"a": {"type": "string", "x-mcp-header": "A"}}}


class Asked:
    """Keeps what is asked until a test answers it."""

    def __init__(self, **limits: Any) -> None:
        self.params: list[dict[str, Any]] = []
        self.thens: list[Answered] = []
        self.done: list[int] = []
        self.schemas = ToolSchemas(self._ask, StdioLimits(**limits))

    def _ask(self, method: str, params: dict[str, Any], then: Answered) -> None:
        assert method == "tools/list"
        self.params.append(params)
        self.thens.append(then)

    def refresh(self) -> None:
        number = len(self.done)
        self.schemas.refresh({"progressToken": 1}, lambda: self.done.append(number))


async def test_all_pages_are_read_once_for_all_who_wait() -> None:
    asked = Asked()
    asked.refresh()
    asked.refresh()
    asked.thens[0]({"tools": [{"name": "one", "inputSchema": SCHEMA}], "nextCursor": "c"}, 9)
    assert asked.done == []
    asked.thens[1]({"tools": [{"name": "two"}, "bad", {"name": 3}]}, 9)
    assert len(asked.done) == 2
    # Nothing of a caller's own but what says who it is goes into our request.
    assert asked.params == [{"_meta": {}}, {"_meta": {}, "cursor": "c"}]
    one = asked.schemas.find("one")
    assert one is not None
    assert one[0].header == b"mcp-param-a"
    assert asked.schemas.find("two") == ()
    assert asked.schemas.find("three") is None
    assert asked.schemas.is_fresh


async def test_a_failed_listing_lets_the_waiters_go_on() -> None:
    for result in (None, {}, {"tools": "none"}):
        asked = Asked()
        asked.refresh()
        asked.thens[0](result, 9)
        assert asked.done == [0]


async def test_a_listing_without_end_is_given_up() -> None:
    asked = Asked()
    asked.refresh()
    for number in range(100):
        asked.thens[number]({"tools": [], "nextCursor": str(number)}, 9)
    assert asked.done == [0]
    assert len(asked.thens) == 100


async def test_a_listing_with_too_many_tools_or_bytes_is_given_up() -> None:
    many = [{"name": str(number)} for number in range(3_000)]
    asked = Asked()
    asked.refresh()
    asked.thens[0]({"tools": many, "nextCursor": "c"}, 100)
    assert asked.done == []
    asked.thens[1]({"tools": many, "nextCursor": "d"}, 100)
    assert (asked.done, len(asked.thens)) == ([0], 2)
    assert asked.schemas.find("2999") is None, "half a list says nothing of what is not in it"
    asked = Asked()
    asked.refresh()
    for number in range(3):
        asked.thens[number]({"tools": [], "nextCursor": str(number)}, 15 * MIB)
    assert (asked.done, len(asked.thens)) == ([0], 3)


async def test_a_server_that_says_nothing_holds_nobody_up() -> None:
    asked = Asked(listing_timeout=0.01)
    asked.refresh()
    await eventually(lambda: asked.done == [0])
    asked.thens[0]({"tools": []}, 9)
    assert asked.done == [0]


async def test_to_forget_ends_the_listing() -> None:
    asked = Asked()
    asked.refresh()
    asked.schemas.forget()
    assert asked.done == [0]
    assert not asked.schemas.is_fresh
