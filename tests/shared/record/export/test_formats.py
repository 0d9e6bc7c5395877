"""A01: one record stays one line, whatever stands in it, in every format."""

import json
import re
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.jsonrpc.canonical import canonical
from shared.record.chain import line_of, link
from shared.record.export.formats import Formatter, otlp_body
from shared.record.export.joined import Origin
from shared.record.export.names import FORMATS
from shared.record.export.syslog import framed
from tests.helpers.log_lines import chained, completion, intent

ORIGIN = Origin("tunnel-client", "mcp-tunnel/client/office/1", "1.0", "host.example")
NASTY = ["\r\n", "}{", "|", "=", "\\", "\u2028", "\u2029", "\x85", "\x00", "\x1b[2J", "]", '"']
WORDS = st.lists(st.one_of(st.sampled_from(NASTY), st.text(max_size=4)), max_size=4).map("".join)
NUMBERS = st.one_of(st.integers(-5, 1 << 70), st.sampled_from([0, 200, 1 << 63]))
VALUES = st.recursive(
    st.one_of(WORDS, NUMBERS, st.none(), st.booleans()),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(WORDS, inner, max_size=3)),
    max_leaves=5,
)
NAMES = [
    *("server", "http", "method", "name", "class", "user", "agent", "session", "claimed"),
    *("decision", "rule", "by", "policy"),
]
PART = st.fixed_dictionaries(
    {},
    optional={name: st.one_of(WORDS, VALUES) for name in NAMES},
)
KIND = st.one_of(
    st.sampled_from(["call.intent", "call.completion", "call.refused", "admin.done", "audit.gap"]),
    WORDS,
)
RECORDS: st.SearchStrategy[dict[str, Any]] = st.fixed_dictionaries(
    {"kind": KIND, "seq": st.integers(0, 9), "time": st.integers(0, 1 << 80), "v": st.just(1)},
    optional={
        **dict.fromkeys(("who", "what", "why", "approval"), PART),
        **dict.fromkeys(("trace", "source", "reason", "result", "call", "request"), WORDS),
        **dict.fromkeys(("status", "us", "bytes", "intent", "arguments", "odd"), VALUES),
    },
)


def a_line(record: dict[str, Any]) -> bytes:
    raw = canonical(record)
    return line_of(link(bytes(32), raw), raw)


def of_cef(line: str) -> tuple[list[str], dict[str, str]]:
    """Take a line of CEF apart as a receiver does: seven fields, then keys and values."""
    matched = re.fullmatch(r"((?:[^|\\]|\\[|\\])*\|){7}(.*)", line)
    assert matched is not None
    rest = matched[2]
    head = re.findall(r"((?:[^|\\]|\\[|\\])*)\|", line[: len(line) - len(rest)])
    pairs = re.findall(r"(\w+)=((?:[^=\\]|\\[=\\n])*)(?= \w+=|$)", rest)
    assert " ".join(f"{key}={value}" for key, value in pairs) == rest
    return head, dict(pairs)


def ends(text: bytes) -> bool:
    """Tell whether a reader could take some of it for the end of a line."""
    return b"\n" in text or b"\r" in text


@settings(deadline=None)
@given(st.lists(RECORDS, max_size=4))
def test_one_record_is_one_line_in_every_format(records: list[dict[str, Any]]) -> None:
    """A01. What is not native holds no end of a line that only some readers know, either."""
    for name in FORMATS:
        formatter = Formatter(name, ORIGIN)
        for seq, record in enumerate(records):
            line = formatter.line(seq, a_line(record))
            assert not ends(line)
            if name.startswith("otlp") and not line:
                continue
            if name == "cef":
                assert len(line.decode().splitlines()) == 1
                head, fields = of_cef(line.decode())
                assert head[0] == "CEF:0"
                assert head[1:4] == ["mcp-tunnel", ORIGIN.program, ORIGIN.version]
                assert fields["externalId"] == f"{ORIGIN.log}#{record['seq']}"
            else:
                assert isinstance(json.loads(line), dict)
            if name not in ("cef", "jsonl"):
                assert line.isascii()


@pytest.mark.parametrize("name", FORMATS)
@settings(deadline=None)
@given(torn=st.binary(max_size=200))
def test_what_is_no_line_of_a_log_is_said_and_ends_nothing(name: Any, torn: bytes) -> None:
    line = Formatter(name, ORIGIN).line(7, torn)
    assert not ends(line)
    if name == "jsonl":
        assert json.loads(line) == {"export": {"unreadable": 7}}
    elif not name.startswith("otlp"):
        assert b"audit.unreadable" in line


def test_the_native_format_is_the_log_byte_for_byte() -> None:
    line = a_line({"kind": "call.refused", "seq": 0, "time": 1, "v": 1, "reason": "a\u2028b"})
    assert Formatter("jsonl", ORIGIN).line(0, line) + b"\n" == line


@pytest.mark.parametrize("name", FORMATS)
def test_records_that_were_removed_are_named(name: Any) -> None:
    said = Formatter(name, ORIGIN).missing(3, 8, 1_700_000_000_000_000)
    if name == "jsonl":
        assert json.loads(said) == {"export": {"from": 3, "to": 8}}
    elif not name.startswith("otlp"):
        assert b"audit.export_gap" in said
        assert re.search(rb'to\\*"?[\\:=" ]+8', said)


@pytest.mark.parametrize("name", [each for each in FORMATS if each != "jsonl"])
def test_no_plain_digest_of_a_request_goes_out(name: Any) -> None:
    """A13: who guesses a request but for a PIN could try them all against one."""
    approval = b'"approval":{"approvers":["pia"],"arguments":"%b","id":"a1"},' % (b"e" * 64)
    formatter = Formatter(name, ORIGIN)
    told = chained([intent(0, 1, approval=approval), completion(1, 1, 0)])
    said = b"".join(formatter.line(seq, line) for seq, line in enumerate(told))
    assert b"look_up" in said or name == "otlp-metrics"
    assert b"f" * 64 not in said
    assert b"e" * 64 not in said


@settings(deadline=None)
@given(WORDS, RECORDS)
def test_a_syslog_message_has_its_length_and_seven_words_before_it(
    host: str, record: dict[str, Any]
) -> None:
    """RFC 5424, RFC 5425: nothing in a record begins a message."""
    origin = Origin("tunnel-relay", "mcp-tunnel/relay/r", "1.0", host)
    content = Formatter("cef", origin).line(0, a_line(record))
    whole = framed(Formatter("cef", origin, syslog=True).line(0, a_line(record)))
    size, _, rest = whole.partition(b" ")
    assert int(size) == len(rest)
    head = re.match(
        rb"<(\d{1,3})>1 (\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z) ([!-~]{1,255}) tunnel-relay - "
        rb"([!-~]{1,32}) - CEF:0\|",
        rest,
    )
    assert head is not None
    assert int(head[1]) // 8 == 13
    assert rest.endswith(content)


def test_spans_are_one_request() -> None:
    record = {"kind": "call.refused", "seq": 0, "time": 5, "v": 1, "what": {"name": '"spans":[]'}}
    line = Formatter("otlp", ORIGIN).line(0, a_line(record))
    found = json.loads(otlp_body("otlp", [line, line], ORIGIN))
    scope = found["resourceSpans"][0]["scopeSpans"][0]
    assert [each["name"] for each in scope["spans"]] == ['"spans":[]'] * 2
