"""What connected clients say of their tools, put together: for pages and listings. Pure.

Nothing is decided by this: a client judges by its own files. Several clients of one tunnel may say
different things of one tool, and then all of it is told.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, NamedTuple

from shared.policy.classes import IN_ORDER, ToolClass
from shared.wire.tools import PinState, ToolWord

STATES = ("all", "pinned", "new", "changed", "differs")
"""What may be asked for; `differs`: clients do not say the same of it."""
_GRAVITY = (PinState.CHANGED, PinState.NEW, PinState.PINNED)


class Told(NamedTuple):
    """What one client says of one upstream's tools; None: nothing yet."""

    tunnel: str
    instance: str
    upstream: str
    tools: Mapping[str, ToolWord] | None

    @property
    def server(self) -> str:
        """The upstream as the relay calls it."""
        return f"{self.tunnel}/{self.upstream}"


@dataclass(frozen=True, slots=True)
class Tool:
    """One tool of a server: what each client says of it, and the clients that know none such."""

    server: str
    name: str
    said: tuple[tuple[str, ToolWord], ...]
    silent: tuple[str, ...] = ()

    @property
    def word(self) -> ToolWord:
        """What the client says that has most to look at."""
        return min((word for _, word in self.said), key=lambda word: _GRAVITY.index(word.state))

    @property
    def agreed(self) -> bool:
        """Do all clients say the same?"""
        said = {(word.kind, word.sha256, word.state) for _, word in self.said}
        return len(said) == 1 and not self.silent

    def is_in(self, state: str) -> bool:
        """Tell whether it is in one of `STATES`."""
        if state == "differs":
            return not self.agreed
        return state == "all" or any(word.state == state for _, word in self.said)

    def row(self) -> dict[str, Any]:
        """Return it as JSON values; `said` only where the clients differ."""
        word = self.word
        said = () if self.agreed else self.said
        return {
            "server": self.server,
            "tool": self.name,
            "class": word.kind,
            "state": word.state.value,
            "sha256": word.sha256,
            "title": word.title,
            "agreed": self.agreed,
            "said": [
                {"instance": who, "class": each.kind, "state": each.state, "sha256": each.sha256}
                for who, each in said
            ],
            "silent": list(self.silent),
        }

    def definitions(self) -> list[dict[str, Any]]:
        """Return each definition that was told, and who told it; `listed`: it is the newest seen.

        What a client tells is what was pinned there: of a tool that changed since, not what the
        server lists now.
        """
        found: dict[str, dict[str, Any]] = {}
        for who, word in self.said:
            if word.definition:
                digest = sha256(word.definition.encode()).hexdigest()
                fresh = {"sha256": digest, "text": word.definition, "listed": True, "said_by": []}
                entry: dict[str, Any] = found.setdefault(digest, fresh)
                entry["said_by"].append(who)
                entry["listed"] = entry["listed"] and digest == word.sha256
        return list(found.values())


class Server(NamedTuple):
    """All of one server's tools by name; `told`: how many clients said what they have."""

    name: str
    clients: int
    told: int
    tools: Sequence[Tool]
    counts: Mapping[str, int]

    def facts(self) -> dict[str, Any]:
        """Return the numbers as JSON values."""
        return {
            "server": self.name,
            "clients": self.clients,
            "told": self.told,
            "tools": len(self.tools),
            **{state: self.counts.get(state, 0) for state in STATES[1:]},
        }

    def by_class(self) -> dict[ToolClass, list[str]]:
        """Return the names of the tools of each class that agents can call."""
        found: dict[ToolClass, list[str]] = {each: [] for each in IN_ORDER}
        for tool in self.tools:
            kinds = {word.kind for _, word in tool.said if word.state is PinState.PINNED}
            for kind in kinds:
                if kind is not None:
                    found[kind].append(tool.name)
        return found


def server_of(name: str, told: Sequence[Told]) -> Server:
    """Put together what the clients of one server say."""
    said: dict[str, list[tuple[str, ToolWord]]] = {}
    speaking = [each for each in told if each.tools is not None]
    for each in speaking:
        for tool, word in (each.tools or {}).items():
            said.setdefault(tool, []).append((each.instance, word))
    everybody = [each.instance for each in speaking]
    tools = []
    for tool, words in sorted(said.items()):
        known = {who for who, _ in words}
        silent = tuple(who for who in everybody if who not in known)
        tools.append(Tool(name, tool, tuple(words), silent))
    counts = Counter(state for tool in tools for state in STATES[1:] if tool.is_in(state))
    return Server(name, len(told), len(speaking), tools, counts)


class ToolBook:
    """The servers that clients offer now; what was put together once is kept while it holds."""

    def __init__(self, told: Callable[[], Iterable[Told]]) -> None:
        self._told = told
        self._known: dict[str, tuple[list[Told], Server]] = {}

    def names(self) -> list[str]:
        """Return the servers that a connected client offers."""
        return sorted({each.server for each in self._told()})

    def all(self) -> Iterator[Server]:
        """Yield every server that a client offers, by name; each may take some milliseconds."""
        offered: dict[str, list[Told]] = {}
        for each in self._told():
            offered.setdefault(each.server, []).append(each)
        self._known = {name: kept for name, kept in self._known.items() if name in offered}
        for name in sorted(offered):
            yield self._put_together(name, offered[name])

    def server(self, name: str) -> Server:
        """Return one server; one that nobody offers has no clients."""
        return self._put_together(name, [each for each in self._told() if each.server == name])

    def _put_together(self, name: str, told: list[Told]) -> Server:
        told.sort(key=_instance)
        known = self._known.get(name)
        if known is not None and _same(known[0], told):
            return known[1]
        made = server_of(name, told)
        if told:
            self._known[name] = told, made
        else:
            self._known.pop(name, None)
        return made


def matches(tool: Tool, query: str) -> bool:
    """Tell whether a text, in lower case, is found in a tool's name, title, class or digest."""
    if query in tool.name.lower():
        return True
    return any(
        query in word.title.lower() or query == word.kind or word.sha256.startswith(query)
        for _, word in tool.said
    )


def _instance(told: Told) -> str:
    return told.instance


def _same(before: Sequence[Told], now: Sequence[Told]) -> bool:
    # A client that says something new says all of it: a mapping is never changed in place.
    return len(before) == len(now) and all(
        one.instance == other.instance and one.tools is other.tools
        for one, other in zip(before, now, strict=True)
    )
