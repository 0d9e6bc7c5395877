"""Row P37: everything is inside, or nothing is sent by this rule."""

from typing import Any

import pytest

from shared.policy.conditions import ConditionError
from shared.policy.recipients import (
    MAX_ADDRESS,
    MAX_NAMES,
    MAX_RECIPIENTS,
    MAX_TEXT,
    Recipients,
    is_domain,
)

RULE = Recipients(("to", "cc", "bcc", "team"), ("corp.com", "*.eu.corp.com"))


@pytest.mark.parametrize(
    "args",
    [
        {"to": "a@corp.com"},
        {"to": ["a@corp.com", "b.c+d@CORP.com"], "cc": [], "bcc": None},
        {"to": "a@corp.com, b@corp.com"},
        {"to": "a@x.eu.corp.com"},
        {"team": ["a@corp.com"], "subject": "to x@evil.com"},
    ],
)
def test_recipients_inside_are_inside(args: dict[str, Any]) -> None:
    assert RULE.all_inside(args)


@pytest.mark.parametrize(
    "address",
    [
        *("a@corp.com.evil.com", "a@evilcorp.com", "a@corp.com@evil.com", "a@evil.com@corp.com"),
        *("a@c\u043erp.com", "a@xn--crp-emc.com", "a@corp\u3002com", "a@corp.com.", "a@.corp.com"),
        *("a@corp.com,b@evil.com", "a@corp.com;b@corp.com", "a@corp.com b@corp.com"),
        *("Bob <a@evil.com>", "Bob <a@corp.com>", '"a@corp.com" <b@evil.com>', "<a@corp.com>"),
        *('"a,b"@corp.com', "a(x@evil.com)@corp.com", "a%evil.com@corp.com", "evil.com!a@corp.com"),
        *("@evil.com:a@corp.com", "a@[10.0.0.1]", "a@corp.com\n", "a@corp.com\r\nBcc: b@evil.com"),
        *("a@corp.com\x00@evil.com", "a@eu.corp.com", "", " ", ",", "a@corp.com,", "corp.com", "@"),
        *("mailto:a@corp.com", "a@corp.com?bcc=b@evil.com", "\ufeffa@corp.com", "a..b@corp.com"),
        *("a@" + "x" * 300 + ".corp.com", "\u202ea@corp.com", "a@corp.com\u200b"),
    ],
)
def test_a_spelling_that_leads_elsewhere_or_may_do_so_is_outside(address: str) -> None:
    assert not RULE.all_inside({"to": address})
    assert not RULE.all_inside({"to": ["a@corp.com", address]})
    assert not RULE.all_inside({"to": "a@corp.com", "bcc": [address]})


@pytest.mark.parametrize(
    "args",
    [
        {},
        {"to": []},
        {"to": {"address": "a@corp.com"}},
        {"to": [["a@corp.com"]]},
        {"to": ["a@corp.com", None]},
        {"to": 1},
        {"to": "a@corp.com", "BCC": "b@evil.com"},
        {"to": "a@corp.com", "Bcc": "a@corp.com"},
        {"to": "a@corp.com", "bcc ": "a@corp.com"},
        {"to": ["a@corp.com"] * (MAX_RECIPIENTS + 1)},
    ],
)
def test_arguments_that_are_not_plainly_recipients_are_outside(args: dict[str, Any]) -> None:
    assert not RULE.all_inside(args)


class Whole(str):
    """A text that is not to be split."""

    __slots__ = ()

    def split(self, *_: Any) -> Any:
        raise AssertionError("split")


class Unwalked(list[str]):
    """A list that is not to be walked."""

    def __iter__(self) -> Any:
        raise AssertionError("walked")


class Unlisted(dict[str, Any]):
    """Arguments whose names are not to be gone through."""

    def items(self) -> Any:
        raise AssertionError("gone through")


@pytest.mark.parametrize(
    "value",
    [
        Unwalked(["a@corp.com"] * (MAX_RECIPIENTS + 1)),
        Whole("a@corp.com," * MAX_RECIPIENTS + "a@corp.com"),
        Whole(" " * MAX_TEXT + "a@corp.com"),
        ["a@corp.com"] * MAX_RECIPIENTS + [Whole("a@corp.com")],
        ["a@corp.com," * (MAX_RECIPIENTS - 1), Whole("a@corp.com")],
        [" " * MAX_TEXT, Whole("a@corp.com")],
    ],
    ids=["list", "commas", "long", "one more", "two of many", "two long"],
)
def test_more_than_could_be_recipients_is_not_taken_apart(value: Any) -> None:
    """Row P09."""
    assert not RULE.all_inside({"to": value})
    assert not RULE.all_inside({"to": "a@corp.com", "cc": value})


def test_as_many_recipients_as_may_be_are_inside() -> None:
    address = "a" * (MAX_ADDRESS - len("@corp.com")) + "@corp.com"
    assert RULE.all_inside({"to": [address] * MAX_RECIPIENTS})
    assert RULE.all_inside({"to": ", ".join([address] * MAX_RECIPIENTS)})
    assert not RULE.all_inside({"to": [address] * MAX_RECIPIENTS, "cc": address})


def test_more_arguments_than_any_tool_has_are_a_fault() -> None:
    """Row P09: which of them are recipients is not looked for."""
    names = {f"n{number}": 1 for number in range(MAX_NAMES - 1)}
    assert RULE.all_inside({"to": "a@corp.com", **names})
    with pytest.raises(ConditionError, match="too many arguments"):
        RULE.all_inside(Unlisted({"to": "a@corp.com", "one": 1, **names}))


def test_the_usual_names_are_looked_at_even_if_a_rule_forgets_them() -> None:
    rule = Recipients(("to",), ("corp.com",))
    assert not rule.all_inside({"to": "a@corp.com", "bcc": "b@evil.com"})


def test_domains_are_plain_names() -> None:
    assert all(map(is_domain, ("corp.com", "*.corp.com", "a-b.example")))
    assert not any(
        map(is_domain, ("", "*", "com", "*.com.", "a@corp.com", "corp.com/x", "*corp.com"))
    )
