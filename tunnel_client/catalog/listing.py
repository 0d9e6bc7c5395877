"""Asks an upstream what it offers: tools, prompts, resources, templates and its instructions.

A server may answer anything, so bytes, pages, entries and time are bounded, and a cursor that comes
back is an end. More than that is an error: half a list would make the other half look gone.
"""

from dataclasses import dataclass, field
from typing import Any

import anyio

from shared.ids import new_id
from shared.jsonrpc.envelope import MODERN
from tunnel_client.catalog.definitions import (
    Item,
    Kind,
    instructions_item,
    item_of,
    name_of,
    spelling,
)
from tunnel_client.errors_upstreams import ListingError, UpstreamTestError
from tunnel_client.upstream.base import Upstream, UpstreamRequest
from tunnel_client.upstream_ask import LEGACY, Answer, ask, farewell, initialize, legacy, modern
from tunnel_client.upstream_probe import server_name

MAX_BYTES = 32 * 1024 * 1024
MAX_PAGE_BYTES = 8 * 1024 * 1024
MAX_ITEMS = 5_000
MAX_PAGES = 100
LISTING_SECONDS = 60.0
_ANSWER_SECONDS = 20.0
_FAREWELL_SECONDS = 2.0
_METHOD_NOT_FOUND = -32601

_LISTS = (
    ("tools", "tools/list", "tools", Kind.TOOL),
    ("prompts", "prompts/list", "prompts", Kind.PROMPT),
    ("resources", "resources/list", "resources", Kind.RESOURCE),
    ("resources", "resources/templates/list", "resourceTemplates", Kind.RESOURCE),
)
"""Capability, method, member of the result, kind."""


@dataclass(slots=True)
class Listing:
    """What an upstream said it offers.

    `spelled` holds the text of each tool as it stood in the list, so that the list is known when
    agents ask for it. `twice` holds names that stand in a list more than once, `nameless` counts
    entries that have no usable name or no canonical form: neither can be pinned.
    """

    server: str = ""
    modern: bool = True
    items: dict[tuple[Kind, str], Item] = field(default_factory=dict)
    spelled: dict[str, str] = field(default_factory=dict)
    """Digests by what `spelling` returned."""
    twice: set[tuple[Kind, str]] = field(default_factory=set)
    nameless: int = 0

    def of(self, kind: Kind) -> list[Item]:
        """Return the items of one kind in the order of the list."""
        return [item for item in self.items.values() if item.kind is kind]


async def list_upstream(upstream: Upstream) -> Listing:
    """Return what a started upstream offers, in the era it speaks; raises ListingError.

    An MCP session begun for it is ended before this returns.
    """
    walk = _Walk(upstream)
    try:
        with anyio.fail_after(LISTING_SECONDS):
            return await walk.run()
    except UpstreamTestError as error:
        # What it says itself of the way out is better than to ask the same again.
        known = None if error.next == error.next_command else error.next
        said = ListingError(f"{upstream.name}: {error.cause}", known)
        raise said.naming(NAME=upstream.name) from None
    except TimeoutError:
        said = ListingError(f"{upstream.name}: not done in {LISTING_SECONDS:.0f} s")
        raise said.naming(NAME=upstream.name) from None


class _Walk:
    """One visit: introduction, lists, farewell."""

    def __init__(self, upstream: Upstream) -> None:
        self._upstream = upstream
        # A session of its own: what agents hold at this upstream is none of its business.
        self._session = new_id()
        self._mcp_session: str | None = None
        self._version = ""
        self._taken = 0
        self._listing = Listing()

    async def run(self) -> Listing:
        try:
            introduction = await self._introduce()
            await self._read(introduction)
        finally:
            with anyio.CancelScope(shield=True):
                await self._leave()
        return self._listing

    async def _introduce(self) -> dict[str, Any]:
        why = "no version we know"
        try:
            result = await self._result(modern("server/discover", self._session))
        except UpstreamTestError as error:
            result, why = None, error.cause
        versions = (result or {}).get("supportedVersions")
        if result is not None and isinstance(versions, list) and MODERN in versions:
            return result
        self._listing.modern = False
        return await self._initialize(why)

    async def _initialize(self, why: str) -> dict[str, Any]:
        request = initialize(self._session, new_id())
        answer = Answer(MAX_PAGE_BYTES)
        message = await ask(self._upstream, request, answer, _ANSWER_SECONDS)
        self._taken += answer.taken
        # Only what the upstream began is ours to name and to end.
        self._mcp_session = request.mcp_session if answer.mcp_session else None
        result = message.get("result")
        if not isinstance(result, dict):
            raise UpstreamTestError(f"it refused to introduce itself ({why})")
        version = result.get("protocolVersion")
        plain = isinstance(version, str) and version.isascii() and version.isprintable()
        self._version = str(version) if plain and len(str(version)) <= 32 else LEGACY
        note = {"method": "notifications/initialized"}
        await self._send(self._legacy(note), Answer(MAX_PAGE_BYTES, wanted=False))
        return result

    async def _read(self, introduction: dict[str, Any]) -> None:
        listing = self._listing
        listing.server = server_name(introduction)
        text = introduction.get("instructions")
        if isinstance(text, str) and text:
            item = instructions_item(text)
            if item is not None:
                listing.items[item.kind, item.name] = item
        offered = introduction.get("capabilities")
        for capability, method, member, kind in _LISTS:
            # Tools are asked for in any case: agents call them without having been told of them.
            if kind is Kind.TOOL or (isinstance(offered, dict) and capability in offered):
                await self._list(method, member, kind)

    async def _list(self, method: str, member: str, kind: Kind) -> None:
        cursor: str | None = None
        seen: set[str] = set()
        for _ in range(MAX_PAGES):
            page = await self._result(self._page(method, cursor))
            if page is None:
                return
            entries = page.get(member)
            # Digests of a large page take a while: agents' calls go on meanwhile.
            found = entries if isinstance(entries, list) else []
            await anyio.to_thread.run_sync(self._take, kind, found)
            cursor = page.get("nextCursor")
            if not isinstance(cursor, str):
                return
            if cursor in seen:
                raise UpstreamTestError(f"{method} goes round in a circle: a cursor came twice")
            seen.add(cursor)
        raise UpstreamTestError(f"{method} has more than {MAX_PAGES} pages")

    def _take(self, kind: Kind, entries: list[Any]) -> None:
        listing = self._listing
        if len(listing.items) + listing.nameless + len(entries) > MAX_ITEMS:
            raise UpstreamTestError(f"it lists more than {MAX_ITEMS} entries")
        for entry in entries:
            name = name_of(kind, entry)
            item = item_of(kind, entry)
            if name is None or item is None:
                listing.nameless += 1
            elif (kind, name) in listing.items:
                if listing.items[kind, name] != item:
                    listing.twice.add((kind, name))
            else:
                listing.items[kind, name] = item
                if kind is Kind.TOOL:
                    listing.spelled[spelling(entry)] = item.sha256

    def _page(self, method: str, cursor: str | None) -> UpstreamRequest:
        params = {} if cursor is None else {"cursor": cursor}
        if self._listing.modern:
            return modern(method, self._session, params)
        return self._legacy({"id": 1, "method": method, "params": params})

    def _legacy(self, message: dict[str, Any]) -> UpstreamRequest:
        return legacy(message, self._session, self._mcp_session, self._version)

    async def _result(self, request: UpstreamRequest) -> dict[str, Any] | None:
        """Ask; None when the upstream does not know the method."""
        message = await self._send(request, Answer(MAX_PAGE_BYTES))
        result, error = message.get("result"), message.get("error")
        if isinstance(result, dict):
            return result
        code = error.get("code") if isinstance(error, dict) else None
        if code == _METHOD_NOT_FOUND:
            return None
        method = request.envelope.method if request.envelope is not None else ""
        raise UpstreamTestError(f"it refused {method}")

    async def _send(self, request: UpstreamRequest, answer: Answer) -> dict[str, Any]:
        message = await ask(self._upstream, request, answer, _ANSWER_SECONDS)
        self._taken += answer.taken
        if self._taken > MAX_BYTES:
            raise UpstreamTestError(f"it says more than {MAX_BYTES // (1024 * 1024)} MiB")
        return message

    async def _leave(self) -> None:
        if self._mcp_session is not None:
            request = farewell(self._session, self._mcp_session, self._version)
            try:
                answer = Answer(wanted=False)
                await ask(self._upstream, request, answer, _FAREWELL_SECONDS)
            except UpstreamTestError:
                pass
        self._upstream.end_session(self._session)
