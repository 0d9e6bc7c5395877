"""Conditions are bounded before they run, and say true, false or that they failed."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.policy.conditions import (
    MAX_ARGS_BYTES,
    MAX_WALKED,
    Condition,
    ConditionError,
    measure,
)

WHO: dict[str, Any] = {
    "user": "alice",
    "agent": "claude",
    "groups": ["ops"],
    "server": "crm",
    "tool": "get",
}


def holds(text: str, **args: Any) -> bool:
    return Condition(text).holds(args, **WHO)


@pytest.mark.parametrize(
    "text",
    [
        "args.n == 1 && args.s.startsWith('ab')",
        "user == 'alice' && agent == 'claude' && server == 'crm' && tool == 'get'",
        "'ops' in groups",
        "args.l.all(x, x.endsWith('c'))",
        "args.s.matches('^[a-z]+$')",
        "size(args.l) == 2 // and a comment with words",
        "has(args.n) && !has(args.gone)",
        'args["s"] == "abc"',
        "type(args.n) == int",
        "args.n in [1, 2]",
    ],
)
def test_what_is_true_is_true(text: str) -> None:
    assert holds(text, n=1, s="abc", l=["c", "bc"])


@pytest.mark.parametrize(
    "text", ["args.n", "'x'", "args.gone", "args.s > 1", "1 / 0 == 1", "args.n + 1", "args"]
)
def test_what_is_neither_true_nor_false_is_a_fault(text: str) -> None:
    """Row P38."""
    with pytest.raises(ConditionError):
        holds(text, n=1, s="abc")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "not CEL"),
        ("args.n ==", "not CEL"),
        ("args.n = 1", "not CEL"),
        ("argz.n == 1", "did you mean args?"),
        ("true || usr == 'x'", "did you mean user?"),
        ("args.s.startWith('a')", "did you mean startsWith?"),
        ("exec('x')", "unknown name exec"),
        ("'a' == \"b", "not closed"),
        ("true" + " || true" * 400, "longer than"),
        ("(" * 40 + "true" + ")" * 40, "nest deeper"),
        ("args.l.all(x, args.l.all(y, x == y))", "inside another"),
        ("args.l.map(x, x) == []", "unknown name map"),
        ("args.l.exists(x, x + 'a' == 'ba')", "does not go with"),
        ("args.l.exists(x, " + " || ".join(["x == 1"] * 60) + ")", "longer than 400"),
        ("+".join(["args.s"] * 20) + " == 'a'", "more than 8 additions"),
        ("args.s.matches('(\\\\w+){90}')", "repeats too much"),
        (r"args.s.matches('(\\w+)\x7b90\x7d')", "repeats too much"),
        (r"args.s.matches(r'\w{5}{5}')", "repeats too much"),
        ("args.l.all(x, x.matches('a'))", "use endsWith"),
        ("args.l.all(args, args == 1)", "taken already"),
        ("args.s.matches(args.p)", "written out"),
        ("args.s.matches('a' + args.p)", "written out"),
        ("args.s.matches('(')", "not a regular expression"),
        ("args.s.matches('(a{1,100}){1,100}')", "repeats too much"),
        ("args.s.matches('" + "a" * 300 + "')", "too long"),
        (" && ".join(["args.s.matches('a')"] * 3), "more than"),
    ],
)
def test_what_cannot_be_used_is_refused_when_it_is_read(text: str, said: str) -> None:
    with pytest.raises(ConditionError, match=said.replace("(", r"\(").replace("?", r"\?")):
        Condition(text)


def deep(levels: int) -> Any:
    value: Any = 1
    for _ in range(levels):
        value = {"a": value}
    return value


class TestP09Bounds:
    """Row P09: what would take long is not looked at."""

    @pytest.mark.parametrize(
        "args",
        [
            {"s": "a" * 1024 * 1024},
            {"s": "\u20ac" * (MAX_ARGS_BYTES // 3 + 1)},
            {"n" * MAX_ARGS_BYTES: 1, "s": "a"},
            {"s": "a", "deep": deep(3000)},
            {"s": "a", "wide": [1] * MAX_ARGS_BYTES},
        ],
        ids=["1 MiB", "wide characters", "long name", "deep", "many"],
    )
    def test_arguments_beyond_the_bounds_are_a_fault(self, args: dict[str, Any]) -> None:
        with pytest.raises(ConditionError, match=r"too large|too deep"):
            Condition("args.s == 'a'").holds(args, **WHO)

    def test_a_walk_over_many_values_is_a_fault(self) -> None:
        assert holds("args.l.all(x, x == 1)", l=[1] * (MAX_WALKED - 2))
        for args in ([1] * MAX_WALKED, ["a" * 20_000]):
            with pytest.raises(ConditionError, match="too large"):
                holds("args.l.all(x, x == 1)", l=args)

    def test_a_pattern_over_long_text_is_a_fault(self) -> None:
        with pytest.raises(ConditionError, match="too large"):
            holds("args.s.matches('a')", s="a" * 33_000)

    @pytest.mark.parametrize("pattern", ["(a+)+$", "(a|aa)+$", "(.*a){30}", "(a|a?)+b"])
    def test_a_pattern_that_hurts_others_comes_to_an_answer(self, pattern: str) -> None:
        assert not holds(f"args.s.matches('^{pattern}c$')", s="a" * 32_000)

    def test_numbers_the_library_would_round_are_a_fault(self) -> None:
        for number in (2**63, -(2**63) - 1, 10**400, float("inf"), float("nan")):
            with pytest.raises(ConditionError, match="a number"):
                holds("args.n > 0", n=number)


class Unwalked(list[Any]):
    """A list that says how long it is, and is not to be walked."""

    def __iter__(self) -> Any:
        raise AssertionError("walked")


class Looked(str):
    """A text that counts how many like it were looked at."""

    __slots__ = ()
    looked = 0

    def isascii(self) -> bool:
        Looked.looked += 1
        return super().isascii()


class TestP09WhatIsLookedAt:
    """Row P09: no more of the arguments is looked at than the bounds allow."""

    def test_a_long_list_is_not_walked(self) -> None:
        for args in ({"l": Unwalked([1] * MAX_ARGS_BYTES)}, {"l": [[Unwalked([1] * 40_000)]]}):
            with pytest.raises(ConditionError, match="too large"):
                Condition("args.s == 'a'").holds(args, **WHO)
        lists = [[1] * 10_000, [1] * 10_000, [1] * 10_000, Unwalked([1] * 10_000)]
        assert measure({"l": lists}).fault == "the arguments are too large for a condition"

    def test_texts_are_looked_at_until_there_is_no_room(self) -> None:
        Looked.looked = 0
        args = {"l": [Looked("a" * 1000) for _ in range(5_000)]}
        assert measure(args).fault
        assert Looked.looked <= MAX_ARGS_BYTES // 1000 + 1

    def test_a_size_is_that_of_the_whole(self) -> None:
        found = measure({"s": "\u20ac", "l": [1, {"name": True}], "n": None})
        assert found == (3 + len("sln") + len("name") + 2 * 7, 7, None)


def test_a_failed_condition_does_not_repeat_what_was_sent() -> None:
    with pytest.raises(ConditionError) as caught:
        holds("args.s > 1", s="hunter2")
    assert "hunter2" not in str(caught.value)


PIECES = st.sampled_from(
    [
        *(
            "args",
            ".s",
            ".n",
            ".l",
            "==",
            "!=",
            "<",
            "&&",
            "||",
            "!",
            "-",
            "+",
            "/",
            "%",
            "in",
            "?",
        ),
        *("(", ")", "[", "]", "{", "}", ",", ":", ".", "1", "1.5", "1u", "'a'", "''", "r'\\d'"),
        *("has(args.s)", "size(args.l)", ".all(x, x == 1)", ".matches('a+')", ".startsWith('a')"),
        *("int(", "string(", "type(", "timestamp(", "duration(", "true", "null", "user", "groups"),
    ]
)


@given(text=st.lists(PIECES, max_size=12).map(" ".join) | st.text(max_size=40))
@settings(max_examples=500, deadline=None)
def test_any_text_is_true_false_or_a_condition_error(text: str) -> None:
    """Row P38: nothing else comes out of the library."""
    try:
        assert holds(text, s="abc", n=1, l=[1, 2]) in (True, False)
    except ConditionError:
        return
