"""Finds the rules about a subject and an action, arguments aside, without reading all of them."""

from collections import defaultdict
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, NamedTuple

from shared.policy.classes import ToolClass
from shared.policy.globs import Matcher, is_exact, literal_head, matcher
from shared.policy.methods import NAMED_BY

if TYPE_CHECKING:
    from shared.policy.model import Action, Decision, Rule, Subject

REMEMBERED = 32_768
"""Verdicts in one generation of the memory; there are two."""

MAX_NAME = 256
"""Longer names (of resources) are looked up each time, so that callers cannot fill the memory."""

LONGEST_HEAD = 16
"""Characters of the literal beginning of a pattern that rules are found by: bounds a look-up."""

Place = tuple[str | None, str | None, int]
"""A server, a name, and how much of the name is meant: `WHOLE`, or so many characters at least."""
WHOLE = -1

Key = tuple["Subject", str, str, str | None, ToolClass | None]


class Found(NamedTuple):
    """What the rules say before arguments are looked at.

    `decision` is final when not None. Otherwise `conditional` rules are to be asked, and `certain`
    ones apply in any case.
    """

    decision: "Decision | None"
    certain: tuple["Rule", ...]
    conditional: tuple["Rule", ...]
    is_visible: bool


class Index:
    """The rules by server and name, or by how the name begins.

    Belongs to one policy, so that nothing outlives a change.
    """

    def __init__(self, rules: Iterable["Rule"], environment: str | None) -> None:
        self._buckets: dict[Place, list[int]] = defaultdict(list)
        self._tests: list[tuple[Rule, Test]] = []
        for rule in rules:
            env = rule.match.env
            if env is None or (environment is not None and fits(env)(environment)):
                place = len(self._tests)
                self._tests.append((rule, _test(rule)))
                for server in _exact(rule.match.server):
                    for name, length in _heads(rule.match.tool):
                        self._buckets[server, name, length].append(place)
        self._lengths = sorted({length for _, _, length in self._buckets if length > 0})
        self._young: dict[Key, Found] = {}
        self._old: dict[Key, Found] = {}

    def matched(self, subject: "Subject", action: "Action") -> list["Rule"]:
        """Return the rules whose `match` fits, in the order of the file."""
        buckets = self._buckets
        name = action.name
        names: list[tuple[str | None, int]] = [(None, 0)]
        if name is not None:
            names.append((name, WHOLE))
            names += [(name[:n], n) for n in self._lengths if n <= len(name)]
        places: set[int] = set()
        for server in {action.server, _upstream(action.server), None}:
            for text, length in names:
                places.update(buckets.get((server, text, length), ()))
        tests = self._tests
        return [
            rule for rule, test in map(tests.__getitem__, sorted(places)) if test(subject, action)
        ]

    def recall(self, key: Key) -> Found | None:
        """Return what was found for this before."""
        found = self._young.get(key)
        if found is None:
            found = self._old.get(key)
            if found is not None:
                self.remember(key, found)
        return found

    def remember(self, key: Key, found: Found) -> None:
        """Keep what was found; the least recent half goes when there is too much."""
        if key[3] is not None and len(key[3]) > MAX_NAME:
            return
        if len(self._young) >= REMEMBERED:
            self._old = self._young
            self._young = {}
        self._young[key] = found


Test = Callable[["Subject", "Action"], bool]


def fits(patterns: Iterable[str]) -> Matcher:
    """Return a test whether one of the patterns fits a whole name."""
    exact = frozenset(pattern for pattern in patterns if is_exact(pattern))
    wild = [matcher(pattern) for pattern in patterns if not is_exact(pattern)]
    if not wild:
        return exact.__contains__
    return lambda name: name in exact or any(one(name) for one in wild)


def fits_server(patterns: Iterable[str]) -> Matcher:
    """Return a test for servers: a pattern with `/` is about `tunnel/upstream`, else the upstream.

    Names of tunnels and upstreams have no `/`, so that one pair has one spelling.
    """
    pairs = fits([pattern for pattern in patterns if "/" in pattern])
    alone = fits([pattern for pattern in patterns if "/" not in pattern])
    return lambda server: pairs(server) or alone(_upstream(server))


def _upstream(server: str) -> str:
    return server.rpartition("/")[2]


def _exact(patterns: tuple[str, ...] | None) -> tuple[str | None, ...]:
    if patterns is None or not all(map(is_exact, patterns)):
        return (None,)
    return tuple(dict.fromkeys(patterns))


def _heads(patterns: tuple[str, ...] | None) -> set[tuple[str | None, int]]:
    """Return under what names, or beginnings of names, a rule is to be found."""
    found: set[tuple[str | None, int]] = set()
    for pattern in ("*",) if patterns is None else patterns:
        head = literal_head(pattern)[:LONGEST_HEAD]
        if is_exact(pattern):
            found.add((pattern, WHOLE))
        else:
            found.add((head, len(head)) if head else (None, 0))
    return {(None, 0)} if (None, 0) in found else found


def _test(rule: "Rule") -> Test:
    """Compile what a rule asks for; the cheap and telling questions come first."""
    match = rule.match
    tests: list[Test] = [lambda _, action: action.method in match.methods]
    if match.server is not None:
        server = fits_server(match.server)
        tests.append(lambda _, action: server(action.server))
    for kind in ("tool", "prompt", "resource"):
        patterns = getattr(match, kind)
        if patterns is not None:
            tests.append(_named(NAMED_BY[kind], fits(patterns)))
    if match.classes is not None:
        tests.append(_classed(match.classes, when_unknown=rule.effect != "allow"))
    if match.user is not None:
        user = fits(match.user)
        tests.append(lambda subject, _: user(subject.user))
    if match.agent is not None:
        agent = fits(match.agent)
        tests.append(lambda subject, _: agent(subject.agent))
    if match.group is not None:
        group = fits(match.group)
        tests.append(lambda subject, _: any(map(group, subject.groups)))
    return lambda subject, action: all(test(subject, action) for test in tests)


def _named(methods: frozenset[str], name: Matcher) -> Test:
    return lambda _, action: (
        action.method in methods and action.name is not None and name(action.name)
    )


def _classed(classes: frozenset[ToolClass], when_unknown: bool) -> Test:
    def test(_: "Subject", action: "Action") -> bool:
        if action.tool_class is None:
            return when_unknown and action.method in NAMED_BY["tool"]
        return action.tool_class in classes

    return test
