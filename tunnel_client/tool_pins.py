"""What the commands about tools do: list upstreams here and now, and write what was approved."""

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import anyio

from shared.link import loop
from shared.policy.classes import ToolClass
from shared.policy.methods import TOOL_NAME
from tunnel_client.audit.commands import operator, record
from tunnel_client.catalog.catalog import Catalog, State, ToolState
from tunnel_client.catalog.definitions import Item, Kind
from tunnel_client.catalog.listing import Listing, list_upstream
from tunnel_client.catalog.pins import Pin, Pins, editing
from tunnel_client.catalog.propose import propose
from tunnel_client.catalog.scan import Flag, hides, known_to, scan
from tunnel_client.control import ask_status
from tunnel_client.errors import ClientError, NotRunningError
from tunnel_client.errors_upstreams import (
    CredentialShownError,
    ListingError,
    NotPinnableError,
    UnknownToolError,
    UnknownUpstreamError,
)
from tunnel_client.settings import ClientSettings, UpstreamSettings
from tunnel_client.upstream_probe import explain
from tunnel_client.upstreams import guards_of, make_upstream

LISTED_AT_ONCE = 4


@dataclass(frozen=True, slots=True)
class Choice:
    """One thing that could be pinned: what it is, what was pinned before, what is proposed."""

    item: Item
    before: Pin | None
    tool_class: ToolClass | None
    flags: tuple[Flag, ...]
    state: State


class Survey:
    """What the upstreams list now, beside what is pinned; `failures` says who did not answer."""

    def __init__(self, settings: ClientSettings, environ: Mapping[str, str]) -> None:
        """Read the pins; raises BrokenPinsError and UnsafeFileError."""
        self._settings = settings
        self._environ = environ
        self.pins = Pins(settings.state_dir)
        unpinned = [each.name for each in settings.upstream if each.pinning == "off"]
        names = [each.name for each in settings.upstream]
        # What the daemon saw change is the daemon's to write down.
        self.catalog = Catalog(self.pins, names, unpinned, marked=lambda: None)
        self.listings: dict[str, Listing] = {}
        self.failures: dict[str, ClientError] = {}

    def take(self, name: str | None) -> None:
        """List one upstream, or all; raises UnknownUpstreamError."""
        wanted = self._settings.upstream
        if name is not None:
            found = self._settings.find(name)
            if found is None:
                raise UnknownUpstreamError(f"no upstream is called {name}")
            wanted = [found]
        loop.run(self._take(wanted))
        for upstream, listing in self.listings.items():
            self.catalog.learn(upstream, listing)

    async def _take(self, wanted: Iterable[UpstreamSettings]) -> None:
        limit = anyio.CapacityLimiter(LISTED_AT_ONCE)

        async def one(settings: UpstreamSettings) -> None:
            async with limit:
                try:
                    self.listings[settings.name] = await list_now(
                        settings, self._settings, self._environ
                    )
                except ClientError as error:
                    self.failures[settings.name] = error

        async with anyio.create_task_group() as tasks:
            for settings in wanted:
                tasks.start_soon(one, settings)

    def tools(self, name: str) -> list[ToolState]:
        """Return the tools of an upstream; one the daemon saw change is changed here too."""
        changed = self._seen_to_change().get(name, [])
        return [
            each._replace(state=State.CHANGED)
            if each.name in changed and each.state is State.PINNED
            else each
            for each in self.catalog.snapshot(name)
        ]

    def choices(self, name: str) -> list[Choice]:
        """Return every tool an upstream lists now; raises what kept it from being listed."""
        if name in self.failures:
            raise self.failures[name]
        states = {each.name: each for each in self.tools(name)}
        return [
            self._choice(name, item, states[item.name])
            for item in self.listings[name].of(Kind.TOOL)
        ]

    def held_back(self, name: str) -> list[Choice]:
        """Return prompts, resources and instructions that agents are not shown."""
        if name in self.failures:
            raise self.failures[name]
        known = known_to(name, {})
        found = []
        for item in self.listings[name].items.values():
            if item.kind is Kind.TOOL:
                continue
            before, flags = self.pins.get(name, item.kind, item.name), scan(item, known)
            held = hides(flags) if before is None else before.sha256 != item.sha256
            held = held or item.leaks
            if held:
                state = State.NEW if before is None else State.CHANGED
                found.append(Choice(item, before, None, flags, state))
        return found

    def check_pinnable(self, name: str, items: Iterable[Item]) -> None:
        """Raise NotPinnableError for what no pin can speak of without doubt."""
        for item in items:
            if item.leaks:
                raise CredentialShownError(f"{name} shows its own credential in {item.name!a}")
            if item.kind is Kind.TOOL and TOOL_NAME.fullmatch(item.name) is None:
                raise NotPinnableError("a tool's name is 1 to 128 of A-Z, a-z, 0-9, _, . and -")
            if (item.kind, item.name) in self.listings[name].twice:
                raise NotPinnableError(f"{name} lists {item.name!a} twice, with two definitions")

    def _choice(self, upstream: str, item: Item, state: ToolState) -> Choice:
        before = self.pins.get(upstream, Kind.TOOL, item.name)
        proposed = before.tool_class if before is not None else propose(item.value())
        return Choice(item, before, proposed, state.flags, state.state)

    def _seen_to_change(self) -> dict[str, list[str]]:
        try:
            tools = ask_status(self._settings.state_dir).get("tools", {})
        except NotRunningError:
            return {}
        return {name: facts.get("changed_tools", []) for name, facts in tools.items()}


async def list_now(
    settings: UpstreamSettings, client: ClientSettings, environ: Mapping[str, str]
) -> Listing:
    """Start an upstream, list it, end it; raises ClientError."""
    guards = guards_of(client)
    if settings.url is None:
        refusal = guards.of(settings, environ).refusal()
        if refusal is not None:
            raise refusal
    upstream = make_upstream(settings, environ, guards, client.vault)
    await upstream.start()
    try:
        try:
            return await list_upstream(upstream)
        finally:
            with anyio.CancelScope(shield=True):
                await upstream.aclose()
    except ListingError as error:
        explain(error, upstream)
        raise


def pick(choices: list[Choice], names: Iterable[str]) -> list[Choice]:
    """Return the choices of these names; without names, those not pinned as they are now."""
    wanted = list(names)
    if not wanted:
        return [each for each in choices if each.state in (State.NEW, State.CHANGED)]
    by_name = {each.item.name: each for each in choices}
    missing = [name for name in wanted if name not in by_name]
    if missing:
        raise UnknownToolError(f"the upstream lists no tool {missing[0]!a}")
    return [by_name[name] for name in dict.fromkeys(wanted)]


def save(
    settings: ClientSettings, upstream: str, chosen: Iterable[tuple[Item, ToolClass | None]]
) -> list[dict[str, Any]]:
    """Pin these definitions with these classes; returns what was written, for JSON."""
    chosen, written = list(chosen), []
    with editing(settings.state_dir) as table:  # what refuses does so before the log claims a pin
        for item, tool_class in chosen:
            name = None if tool_class is None else tool_class.value
            what = {"upstream": upstream, "item": item.kind.value, "tool": item.name}
            record(settings, "tool.pinned", **what, sha256=item.sha256, **{"class": name})
        for item, tool_class in chosen:
            key = (upstream, item.kind, item.name)
            before = table.get(key)
            # A pin that is written again is a new approval, even within one second.
            now = max(int(time.time()), before.pinned + 1 if before is not None else 0)
            pin = Pin(item.name, item.sha256, tool_class, item.definition, now, operator())
            table[key] = pin
            written.append(
                {
                    "kind": item.kind.value,
                    "name": item.name,
                    "class": None if tool_class is None else tool_class.value,
                    "sha256": item.sha256,
                }
            )
    return written


def classify(settings: ClientSettings, upstream: str, tool: str, tool_class: ToolClass) -> Pin:
    """Change the class of a pinned tool and approve nothing; raises UnknownToolError."""
    with editing(settings.state_dir) as table:
        key = (upstream, Kind.TOOL, tool)
        pin = table.get(key)
        if pin is None:
            raise UnknownToolError(
                f"no tool {tool!a} of {upstream} is pinned", f"tunnel-client tool pin {upstream}"
            )
        what = {"upstream": upstream, "tool": tool, "class": tool_class.value}
        record(settings, "tool.classified", **what)
        table[key] = Pin(tool, pin.sha256, tool_class, pin.definition, pin.pinned, operator())
        return table[key]
