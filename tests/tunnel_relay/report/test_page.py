"""The page: whatever names say it is text, and it stands alone."""

import re
from collections import Counter
from html.parser import HTMLParser
from typing import Any

import pytest

from tests.tunnel_relay.report import a_report
from tests.tunnel_relay.report.a_report import NOW
from tunnel_relay.report.document import document
from tunnel_relay.report.log import not_looked_at
from tunnel_relay.report.page import MAX_PEOPLE, iso, page, reach

HOSTILE = [
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "\x1b[2J\x1b[31mred",
    "exe.\u202egnp",
    "\u3164",
    "{{ 7 * 7 }}",
    "]]></style><b>",
]


class Tags(HTMLParser):
    """Every tag with its attributes."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.seen: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attrs)))


def row(**more: Any) -> dict[str, Any]:
    kinds = ("read", "draft", "write", "external_send", "admin", "break_glass")
    facts = {"user": "uma", "groups": [], "agent": "bot", "server": "office/git", "live": True}
    outlook = {"classes": {kind: ["deny"] for kind in kinds}, "tools": {}, "rules": []}
    return {**facts, **outlook, "judged_by": "the relay"} | more


def spoilt(value: Any, word: str) -> Any:
    """Put a word into every text of a document that somebody may have chosen."""
    if isinstance(value, dict):
        return {key: each if key in FIXED else spoilt(each, word) for key, each in value.items()}
    if isinstance(value, list):
        return [spoilt(each, word) for each in value]
    return value + word if isinstance(value, str) else value


FIXED = {"verdict", "severity", "transport", "judged_by", "classes", "effect", "owner_is"}


def full() -> dict[str, Any]:
    facts = a_report.clean_facts()
    facts["map"] = [row(tools={"git_log": ["allow"]})]
    facts["tools"] += [a_report.tool(f"fresh{number}", "new") for number in range(9)]
    log = a_report.clean_log()
    log["sample"] = [{"seq": 1, "time": int(NOW * 1e6), "kind": "call.intent", "user": "uma"}]
    for name in ("agent", "server", "what", "class", "decision", "outcome"):
        log["sample"][0][name] = "x"
    return document(facts, [a_report.clean_part()], log)


@pytest.mark.parametrize("word", HOSTILE)
def test_what_somebody_wrote_is_text_wherever_it_stands(word: str) -> None:
    """A02: HTML, escape sequences, turned and invisible text."""
    plain, text = page(spoilt(full(), "plain")), page(spoilt(full(), word))
    # Counted, not compared in order: rows are sorted by what names say.
    tags = Counter(tag for tag, _ in Tags(plain).seen)
    assert Counter(tag for tag, _ in Tags(text).seen) == tags
    assert not re.search("[\x00-\x08\x0b-\x1f\u202e\u3164]", text)
    assert ("{{ 7 * 7 }}" in text) is ("{{" in word)
    assert text.count("</style>") == 1


def test_it_stands_alone() -> None:
    text = page(full())
    tags = Tags(text).seen
    assert not {"script", "link", "img", "iframe", "object", "form"} & {tag for tag, _ in tags}
    for _, attributes in tags:
        assert not [name for name in attributes if name.startswith("on") or name == "style"]
        assert (attributes.get("href") or "#").startswith("#")
    policy = next(a["content"] for tag, a in tags if tag == "meta" and "http-equiv" in a)
    assert policy is not None
    assert policy.startswith("default-src 'none'; style-src 'unsafe-inline'")
    assert "@import" not in text
    assert "http:" not in text.partition("<style>")[2].partition("</style>")[0]


def test_every_place_a_link_leads_to_is_there_once() -> None:
    tags = Tags(page(full())).seen
    ids = [each["id"] for _, each in tags if "id" in each]
    assert len(set(ids)) == len(ids)
    for _, each in tags:
        if (each.get("href") or "").startswith("#"):
            assert (each["href"] or "")[1:] in ids


def test_those_who_may_do_the_same_stand_in_one_row() -> None:
    rows = [row(user=f"u{number}") for number in range(MAX_PEOPLE + 3)]
    (group, other) = reach([*rows, row(user="other", server="office/wiki", live=False)])
    assert len(group["people"]) == MAX_PEOPLE
    assert group["more"] == 3
    assert group["people"][0] == "u0 by bot"
    assert other["people"] == ["other"]


def test_an_empty_relay_has_a_page_too() -> None:
    facts = a_report.clean_facts() | {"tunnels": [], "servers": [], "tools": [], "users": []}
    facts["sessions"] |= {"live": 0, "longest": [], "ended": {}}
    facts["relay"] |= {"serving": False, "uptime": None}
    facts["policy"]["rules"] = []
    text = page(document(facts, [], not_looked_at("no log")))
    for said in ("No tunnels.", "No client offers a server.", "No rule that is known here"):
        assert said in text


def test_the_clients_that_are_linked_are_of_those_enrolled() -> None:
    """One client holds two links."""
    facts = a_report.clean_facts()
    away = a_report.instance(id="2" * 32, connected=False)
    facts["tunnels"][0] |= {"links": 2, "instances": [a_report.instance(), away]}
    text = page(document(facts, [], not_looked_at("no log")))
    assert "<dt>Clients linked</dt><dd>1 of 2 enrolled</dd>" in text


def test_a_session_is_named_as_commands_take_it() -> None:
    facts = a_report.clean_facts()
    ends = a_report.NOW + 20 * a_report.DAY
    facts["sessions"]["longest"] = [a_report.session(id="0a" * 16, expires=ends)]
    text = page(document(facts, [], not_looked_at("no log")))
    assert text.count("0a0a0a0a0a0a") == 2  # in the table, and in what was found


def test_a_time_that_is_none_is_a_dash() -> None:
    assert iso(0.0) == "1970-01-01 00:00Z"
    assert iso(5.0, seconds=True) == "1970-01-01 00:00:05Z"
    assert iso(None) == iso(1e300) == "-"
