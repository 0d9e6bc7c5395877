"""Rules are found by server and tool, whatever else there is, and verdicts are kept in bounds."""

from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.policy import index as module
from shared.policy.index import Found, Index, fits, fits_server
from shared.policy.model import Action, Effect, Match, Rule, Subject

CALL = frozenset({"tools/call"})
ANYONE = Subject("u", frozenset(), "a")


def rule(name: str, **match: tuple[str, ...]) -> Rule:
    return Rule(name, Effect.ALLOW, Match(CALL, **match))  # type: ignore[arg-type]


RULES = [
    rule("any"),
    rule("crm", server=("crm",)),
    rule("pair", server=("shop/crm", "hr")),
    rule("get", tool=("get", "get2")),
    rule("wild", server=("c*",), tool=("g*",)),
    rule("both", server=("crm",), tool=("get",)),
]


def ids(server: str, tool: str) -> list[str]:
    action = Action(server, "tools/call", tool, None, None)
    return [found.id for found in Index(RULES, None).matched(ANYONE, action)]


def test_the_rules_that_fit_come_in_the_order_of_the_file() -> None:
    assert ids("crm", "get") == ["any", "crm", "get", "wild", "both"]
    assert ids("shop/crm", "get") == ["any", "crm", "pair", "get", "wild", "both"]
    assert ids("hr", "put") == ["any", "pair"]
    assert ids("x", "get2") == ["any", "get"]


def test_only_rules_that_could_fit_are_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    real = module._test

    def spy(each: Rule) -> module.Test:
        test = real(each)
        return lambda subject, action: asked.append(each.id) or test(subject, action)  # type: ignore[func-returns-value]

    monkeypatch.setattr(module, "_test", spy)
    many = [rule(f"r{n}", server=(f"s{n}",)) for n in range(1000)]
    found = Index([*many, *RULES], None)
    found.matched(ANYONE, Action("s7", "tools/call", "t7", None, None))
    assert asked == ["r7", "any"]


def test_a_pattern_is_asked_only_of_names_that_begin_like_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[str] = []
    real = module._test

    def spy(each: Rule) -> module.Test:
        test = real(each)
        return lambda subject, action: asked.append(each.id) or test(subject, action)  # type: ignore[func-returns-value]

    monkeypatch.setattr(module, "_test", spy)
    many = [rule(f"r{n}", tool=(f"area_{n}_*",)) for n in range(1000)]
    found = Index(
        [*many, rule("mixed", tool=("put", "area_1?_x")), rule("tail", tool=("*_x",))], None
    )
    hits = found.matched(ANYONE, Action("s", "tools/call", "area_12_x", None, None))
    assert asked == ["r12", "mixed", "tail"]
    assert [hit.id for hit in hits] == asked


PATTERNS = st.text("ab*?", max_size=20) | st.text("a", min_size=15, max_size=20)
SOME = st.none() | st.lists(PATTERNS, min_size=1, max_size=3).map(tuple)
NAMES = st.text("ab", max_size=20)


@given(
    matches=st.lists(st.tuples(SOME, SOME), max_size=8),
    server=st.tuples(NAMES, st.none() | NAMES),
    name=st.none() | NAMES,
)
def test_the_index_finds_what_reading_every_rule_finds(
    matches: list[tuple[tuple[str, ...] | None, tuple[str, ...] | None]],
    server: tuple[str, str | None],
    name: str | None,
) -> None:
    """A rule that is overlooked could be the one that denies."""
    rules = [
        Rule(str(at), Effect.DENY, Match(CALL, server=servers, tool=tools))
        for at, (servers, tools) in enumerate(matches)
    ]
    spelt = "/".join(part for part in server if part is not None)
    action = Action(spelt, "tools/call", name, None, None)
    every = [each for each in rules if module._test(each)(ANYONE, action)]
    assert Index(rules, None).matched(ANYONE, action) == every


def test_memory_is_bounded_and_keeps_what_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "REMEMBERED", 10)
    kept = Index([], None)

    def keys() -> Iterator[module.Key]:
        for number in range(35):
            yield (ANYONE, "s", "tools/call", f"t{number}", None)

    first = next(keys())
    found = Found(None, (), (), True)
    for key in keys():
        kept.remember(key, found)
        assert kept.recall(first) is found
    assert len(kept._young) + len(kept._old) <= 20
    assert kept.recall((ANYONE, "s", "tools/call", "t12", None)) is None


def test_long_names_are_not_kept() -> None:
    kept = Index([], None)
    key = (ANYONE, "s", "resources/read", "x" * 300, None)
    kept.remember(key, Found(None, (), (), True))
    assert kept.recall(key) is None


def test_patterns_are_tried_one_by_one() -> None:
    assert [name for name in ("a", "b", "cx", "d") if fits(["a", "c*"])(name)] == ["a", "cx"]
    server = fits_server(["crm", "shop/*"])
    assert [name for name in ("crm", "x/crm", "shop/hr", "crm/hr") if server(name)] == [
        *("crm", "x/crm", "shop/hr")
    ]
