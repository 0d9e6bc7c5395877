"""What an answer came to, however it is cut, spelled and framed."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.jsonrpc.outcome import MAX_READ, Look, Outcome, outcome_of

OK, TOOL, PROTOCOL = Outcome.OK, Outcome.TOOL_ERROR, Outcome.PROTOCOL_ERROR


def response(**members: Any) -> bytes:
    return json.dumps({"jsonrpc": "2.0", "id": 1, **members}).encode()


def result(**members: Any) -> bytes:
    return response(result={"content": [], **members})


FAILED = response(error={"code": -32602, "message": "no"})
CASES = [
    (result(), OK),
    (result(isError=False), OK),
    (result(isError=True), TOOL),
    (result(isError=False, structuredContent={"isError": True}), OK),
    (result(structuredContent={"error": "none"}), OK),
    (result(content=[{"type": "text", "text": '{"isError":true,"error":1}'}]), OK),
    (FAILED, PROTOCOL),
    (FAILED.replace(b'"error"', rb'"err\u006fr"'), PROTOCOL),
    (result(isError=True).replace(b'"isError"', rb'"is\u0045rror"'), TOOL),
    (result(isError=True).replace(b'"isError": ', b'"isError"\n:\t'), TOOL),
    (b"", OK),
    (b'{"error": ', OK),
    (b'<html>an "error"</html>', OK),
    (b'[{"error": {}}]', OK),
    (b'{"result": 1, "isError": true}', OK),
]


def pieces(body: bytes, size: int) -> list[bytes]:
    return [body[at : at + size] for at in range(0, len(body), size)] or [b""]


def looked(chunks: list[bytes], *, events: bool) -> Outcome:
    look = Look(events=events)
    for chunk in chunks:
        look.feed(chunk)
    return look.end()


def event(data: bytes, end: bytes = b"\n") -> bytes:
    lines = [b"event: message", *(b"data: " + line for line in data.split(b"\n")), b"", b""]
    return end.join(lines)


@pytest.mark.parametrize(("body", "outcome"), CASES)
def test_a_body_is_what_its_message_says(body: bytes, outcome: Outcome) -> None:
    assert outcome_of(body) is outcome
    for size in (1, 7, 4096):
        assert looked(pieces(body, size), events=False) is outcome


@pytest.mark.parametrize(("body", "outcome"), CASES)
@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"])
def test_so_is_an_event_stream(body: bytes, outcome: Outcome, end: bytes) -> None:
    noise = event(b'{"jsonrpc":"2.0","method":"notifications/message","params":{"error":"x"}}', end)
    stream = noise + event(body, end)
    assert outcome_of(stream, events=True) is outcome
    for size in (1, 7, 4096):
        assert looked(pieces(stream, size), events=True) is outcome
    assert looked([noise, event(body, end)], events=True) is outcome


def test_of_several_responses_the_last_that_failed_counts_however_they_come() -> None:
    stream = [event(FAILED), event(result(isError=True)), event(result(isError=False))]
    assert outcome_of(b"".join(stream), events=True) is TOOL
    assert looked(stream, events=True) is TOOL
    assert looked([stream[1], stream[0], stream[2]], events=True) is PROTOCOL


def test_of_a_message_too_large_to_be_read_the_flag_is_believed() -> None:
    padding = [{"type": "text", "text": "x" * MAX_READ}]
    for size in (1024, 65_537, 4 * MAX_READ):
        large = result(content=padding, isError=True)
        assert looked(pieces(large, size), events=False) is TOOL
        assert looked(pieces(event(large), size), events=True) is TOOL
        fine = result(content=padding, isError=False, structuredContent={"error": "no"})
        assert looked(pieces(fine, size), events=False) is OK


def test_what_is_kept_is_bounded() -> None:
    look = Look(events=False)
    chunk = b'"error" ' + b"x" * 8192
    for _ in range(1000):
        look.feed(chunk)
    watcher = look._watcher
    assert watcher is not None
    assert watcher._held == []


@given(st.binary(max_size=200), st.integers(1, 50), st.booleans())
def test_it_is_total(body: bytes, size: int, events: bool) -> None:
    assert outcome_of(body, events=events) in Outcome
    assert looked(pieces(body, size), events=events) in Outcome
