"""What a client says of its tools: read back as written, bounded, and total on everything else."""

import contextlib
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.errors import PeerError, TooBigError
from shared.policy.classes import ToolClass
from shared.wire import tools as module
from shared.wire.limits import MAX_CATALOG_UPSTREAMS, MAX_PAYLOAD_BYTES, MAX_TOOLS
from shared.wire.tools import PinState, ToolsHeard, ToolWord, decode_tools, encode_tools

PRINTABLE = st.characters(exclude_categories=["C", "Z"])
TEXT = st.text(PRINTABLE, max_size=30)
WORDS = st.builds(
    ToolWord,
    name=st.text(PRINTABLE, min_size=1, max_size=30),
    kind=st.none() | st.sampled_from(ToolClass),
    sha256=st.from_regex(r"\A[0-9a-f]{64}\Z"),
    state=st.sampled_from(PinState),
    title=TEXT,
    definition=st.text(st.characters(exclude_categories=["Cs"]), max_size=100),
)
LISTS = st.lists(WORDS, max_size=30, unique_by=lambda word: word.name)


def word(name: str, **more: Any) -> ToolWord:
    return ToolWord(name, ToolClass.READ, "ab" * 32, PinState.PINNED, **more)


def part(**changed: Any) -> bytes:
    tool = {"name": "now", "class": "read", "sha256": "ab" * 32, "state": "pinned"}
    value = {"upstream": "time", "first": True, "more": False, "tools": [tool]}
    return json.dumps(value | changed).encode()


@given(LISTS)
def test_tools_read_back_as_written(tools: list[ToolWord]) -> None:
    (payload,) = encode_tools("time", tools)
    assert ToolsHeard().take(payload) == ("time", tools)


def test_many_tools_take_several_frames_and_come_out_whole_after_the_last() -> None:
    tools = [word(f"t{at}", definition="x" * 3000) for at in range(200)]
    payloads = encode_tools("time", tools)
    assert len(payloads) > 5
    assert max(map(len, payloads)) <= MAX_PAYLOAD_BYTES
    heard = ToolsHeard()
    assert [heard.take(payload) for payload in payloads[:-1]] == [None] * (len(payloads) - 1)
    assert heard.take(payloads[-1]) == ("time", tools)


def test_what_is_said_anew_replaces_what_was_said_in_part() -> None:
    heard = ToolsHeard()
    begun = encode_tools("time", [word(f"t{at}", definition="x" * 30_000) for at in range(5)])
    assert heard.take(begun[0]) is None
    assert heard.take(encode_tools("time", [word("now")])[0]) == ("time", [word("now")])
    with pytest.raises(PeerError):
        heard.take(begun[1])


def test_a_definition_too_large_for_a_frame_is_left_out() -> None:
    (payload,) = encode_tools("time", [word("now", definition="x" * MAX_PAYLOAD_BYTES)])
    assert decode_tools(payload).tools == [word("now")]


def test_more_tools_than_the_limit_are_neither_said_nor_heard(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    tools = [word(f"t{at}") for at in range(MAX_TOOLS + 1)]
    with pytest.raises(TooBigError):
        encode_tools("time", tools)
    monkeypatch.setattr(module, "MAX_TOOLS", MAX_TOOLS + 1)
    payloads = encode_tools("time", tools)
    monkeypatch.undo()
    heard = ToolsHeard()
    with pytest.raises(TooBigError):
        [heard.take(payload) for payload in payloads]


def test_what_is_held_of_one_link_is_bounded_in_bytes_and_upstreams_r19() -> None:
    """R19: a client that says more and more loses its link."""
    heard = ToolsHeard()
    large = part(tools=[], more=True)[:-1] + b" " * 60_000 + b"}"
    heard.take(large)
    more = part(tools=[], more=True, first=False)[:-1] + b" " * 60_000 + b"}"
    with pytest.raises(TooBigError):
        [heard.take(more) for _ in range(200)]
    many = ToolsHeard()
    with pytest.raises(TooBigError):
        [many.take(part(upstream=f"u{at}")) for at in range(MAX_CATALOG_UPSTREAMS + 1)]


@given(st.binary(max_size=300))
def test_any_bytes_are_a_value_or_a_documented_error(payload: bytes) -> None:
    with contextlib.suppress(PeerError):
        decode_tools(payload)


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"[]",
        part()[:-1],
        part(url="http://10.0.0.1/"),
        part(upstream="http://10.0.0.1/"),
        part(upstream=7),
        part(first=1),
        part(more="no"),
        part(tools={}),
        part(tools=["now"]),
        part(tools=[{"name": "now"}]),
        part().replace(b'"first": true', b'"first": true, "first": true'),
        part().replace(b'"now"', b'""'),
        part().replace(b'"now"', b'"a\\nb"'),
        part().replace(b'"now"', b'"\\ud800"'),
        part().replace(b'"now"', b'"' + b"x" * 257 + b'"'),
        part().replace(b'"read"', b'"root"'),
        part().replace(b'"read"', b"[]"),
        part().replace(b'"pinned"', b'"fine"'),
        part().replace(b"abab", b"ABAB"),
        part().replace(b"abab", b"ab"),
        part().replace(b'"pinned"', b'"pinned", "definition": "\\ud800"'),
        part().replace(b'"pinned"', b'"pinned", "definition": 7'),
        part().replace(b'"pinned"', b'"pinned", "title": 7'),
        part().replace(b'"pinned"', b'"pinned", "more": 7'),
        b"\xff",
    ],
)
def test_malformed_tools_are_refused(payload: bytes) -> None:
    with pytest.raises(PeerError):
        decode_tools(payload)


def test_a_tool_told_twice_is_refused() -> None:
    with pytest.raises(PeerError):
        ToolsHeard().take(encode_tools("time", [word("now"), word("now")])[0])
