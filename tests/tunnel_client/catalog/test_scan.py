"""The scanner reads every text at any depth, follows nothing and always comes to an end."""

import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.tunnel_client.catalog.test_definitions import VALUES
from tests.tunnel_client.catalog.test_scan_text import PAYLOADS
from tunnel_client.catalog.definitions import Kind, instructions_item, item_of
from tunnel_client.catalog.scan import (
    MAX_FLAGS,
    NOBODY,
    Flag,
    Known,
    counts,
    hides,
    known_to,
    scan,
)
from tunnel_client.catalog.scan_text import Code

EVIL = "adds <IMPORTANT>more</IMPORTANT>"


def flags(entry: dict[str, Any], kind: Kind = Kind.TOOL, known: Known = NOBODY) -> list[Flag]:
    item = item_of(kind, {"name": "t"} | entry)
    assert item is not None
    return list(scan(item, known))


def found(entry: dict[str, Any], known: Known = NOBODY) -> set[Code]:
    return {flag.code for flag in flags(entry, known=known)}


PLACES: list[dict[str, Any]] = [
    {"title": EVIL},
    {"description": EVIL},
    {"annotations": {"title": EVIL}},
    {"icons": [{"src": EVIL}]},
    {"_meta": {"x": {"y": [EVIL]}}},
    {"inputSchema": {"properties": {"a": {"description": EVIL}}}},
    {"inputSchema": {"properties": {EVIL: {"type": "string"}}}},
    {"inputSchema": {"properties": {"a": {"enum": ["x", EVIL]}}}},
    {"inputSchema": {"properties": {"a": {"default": EVIL}}}},
    {"inputSchema": {"properties": {"a": {"examples": [{"b": EVIL}]}}}},
    {"inputSchema": {"$defs": {"a": {"anyOf": [{"const": EVIL}]}}}},
    {"inputSchema": {"required": [EVIL]}},
    {"outputSchema": {"properties": {"a": {"title": EVIL}}}},
    {"anything": {"else": [[[EVIL]]]}},
]


@pytest.mark.parametrize("entry", PLACES, ids=lambda each: str(each)[:40])
def test_a_payload_is_found_wherever_it_stands_and_its_place_is_told(entry: dict[str, Any]) -> None:
    """P17."""
    told = [flag for flag in flags(entry) if flag.code is Code.MARKUP]
    assert len(told) == 1
    assert told[0].path.startswith(next(iter(entry)))
    assert hides(told)


@pytest.mark.parametrize(("text", "code"), PAYLOADS, ids=lambda each: str(each)[:24])
def test_every_payload_is_found_deep_in_a_schema_a_prompt_and_a_resource(
    text: str, code: Code
) -> None:
    """P16, P17."""
    assert code in found({"inputSchema": {"properties": {"a": {"default": {"b": [text]}}}}})
    prompt = {"name": "p", "arguments": [{"name": "a", "description": text}]}
    assert code in {flag.code for flag in flags(prompt, Kind.PROMPT)}
    resource = item_of(Kind.RESOURCE, {"uri": "a:b", "name": "n", "description": text})
    instructions = instructions_item(text)
    assert resource is not None
    assert instructions is not None
    assert code in {flag.code for flag in scan(resource)}
    assert code in {flag.code for flag in scan(instructions)}


@pytest.mark.parametrize(
    "name",
    [
        "re\u0430d",
        "\uff52ead",
        "re\u0301ad",
        "read\u200b",
        "read\u202e",
        "read file",
        "a/b",
        "x" * 129,
    ],
)
def test_a_name_outside_the_grammar_is_told(name: str) -> None:
    """P02."""
    assert Code.BAD_NAME in found({"name": name})
    assert Code.BAD_NAME not in found({"name": "Read_file-2.0"})


def test_a_parameter_that_no_keyboard_types_is_told() -> None:
    assert Code.BAD_NAME in found({"inputSchema": {"properties": {"p\u0430th": {}}}})


@pytest.mark.parametrize(
    ("reference", "told"),
    [
        ("http://evil.example/s.json", True),
        ("file:///etc/passwd", True),
        ("other.json#/x", True),
        ("", True),
        ("#/$defs/a", False),
        ("#", False),
    ],
)
@pytest.mark.parametrize("key", ["$ref", "$dynamicRef"])
def test_a_reference_that_leaves_the_definition_is_told_and_not_followed(
    key: str, reference: str, told: bool
) -> None:
    """R05: nothing here can fetch; a schema that contains itself is read once."""
    entry = {"outputSchema": {"$defs": {"a": {key: "#/$defs/a"}}, "items": {key: reference}}}
    assert (Code.REMOTE_REF in found(entry)) is told


@pytest.mark.parametrize(
    ("schema", "told"),
    [
        ({"type": "string"}, False),
        ({"type": "string", "format": "password"}, True),
        ({"type": "string", "writeOnly": True}, True),
    ],
)
def test_a_parameter_that_puts_a_secret_into_a_header_is_told(
    schema: dict[str, Any], told: bool
) -> None:
    """H32."""
    plain = {"inputSchema": {"properties": {"region": schema | {"x-mcp-header": "Region"}}}}
    assert (Code.SECRET_HEADER in found(plain)) is told
    named = {"inputSchema": {"properties": {"apiKey": schema | {"x-mcp-header": "Key"}}}}
    assert Code.SECRET_HEADER in found(named)


def test_names_of_other_servers_are_told_and_own_ones_are_not() -> None:
    """P15."""
    known = known_to("desk", {"desk": ["t", "list_x"], "mail": ["mail_send", "t"]})
    assert Code.OTHER_TOOL in found({"description": "then mail_send it"}, known)
    assert Code.OTHER_SERVER in found({"description": "ask the mail server"}, known)
    assert found({"name": "list_y", "description": "after list_x"}, known) == set()
    assert [flag.path for flag in flags({"name": "t"}, known=known)] == ["name"]


def test_a_name_that_looks_like_a_known_one_is_told() -> None:
    known = known_to("desk", {"desk": ["list_files"], "mail": []})
    told = flags({"name": "1ist_files"}, known=known)
    assert [(flag.code, flag.excerpt) for flag in told] == [
        (Code.LOOK_ALIKE, "looks like list_files")
    ]
    assert flags({"name": "list_files"}, known=known) == []


def test_links_are_notes_and_icons_are_not_fetched() -> None:
    """R07: a link is shown and nothing more."""
    told = flags({"icons": [{"src": "https://cdn.example/i.png"}]})
    assert [flag.code for flag in told] == [Code.LINK]
    assert not counts(told)
    assert not hides(told)
    assert counts(flags({"icons": [{"src": "javascript:x()"}]}))


@given(VALUES)
def test_any_definition_has_an_answer(value: Any) -> None:
    told = flags({"x": value})
    assert len(told) <= MAX_FLAGS
    for flag in told:
        assert (flag.path + flag.excerpt).isascii()
        assert len(flag.path) <= 200


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=50), st.integers(0, 150))
def test_depth_is_no_hiding_place(text: str, depth: int) -> None:
    value: Any = {"k": f"{text}\x1b{text}"}
    for _ in range(depth):
        value = [value]
    assert Code.ANSI in found({"x": value})


@pytest.mark.parametrize(
    "unit",
    [
        *("a", " ", "       x", "<", "<system ", "ignore all the your ", "read ", "content "),
        *("do not tell ", "before using this ", "a\u200d", "\U0001f600\ufe0f", "http:/", "data:x "),
        *("\u0434\u043e\u043c2", "mail_send ", "\n", '"', "a\u0300", "you must always first "),
    ],
)
def test_a_megabyte_is_no_way_to_keep_the_client_busy(unit: str) -> None:
    """P16: the time is bounded by what is looked at, and what is not looked at is told."""
    item = item_of(Kind.TOOL, {"name": "t", "description": unit * (1_000_000 // len(unit))})
    assert item is not None
    known = known_to("desk", {"mail": ["mail_send"]})
    began = time.process_time()
    told = scan(item, known)
    # Milliseconds when all is well; a pattern that runs away takes minutes.
    assert time.process_time() - began < 5
    assert Code.TOO_LARGE in {flag.code for flag in told}
    assert hides(told)


def test_so_many_parts_that_nobody_would_read_them_are_told() -> None:
    assert Code.TOO_LARGE in found({"x": list(range(30_000))})
    many = {f"p{number}": {"description": "Reads it."} for number in range(2_000)}
    assert found({"inputSchema": {"properties": many}}) == set()
