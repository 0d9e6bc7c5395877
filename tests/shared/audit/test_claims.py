"""What an agent claims stays a claim (A17)."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.audit.claims import CLIENT_INFO, claimed, trace_header, trace_of
from tests.tunnel_client.test_judge import a_request

TRACE = "0af7651916cd43dd8448eb211c80319c"
PARENT = f"00-{TRACE}-b7ad6b7169203331-01"


def said(method: str, **params: Any) -> str | None:
    envelope = a_request(method, **params).envelope
    assert envelope is not None
    return claimed(envelope)


def test_both_eras_say_who_they_are() -> None:
    info = {"name": "claude", "version": "1.2"}
    assert said("initialize", clientInfo=info) == "claude/1.2"
    assert said("tools/call", name="a", _meta={CLIENT_INFO: info}) == "claude/1.2"
    assert said("tools/call", name="a", clientInfo=info) is None
    assert said("tools/call", name="a") is None
    assert said("ping") is None


@pytest.mark.parametrize(
    ("info", "shown"),
    [
        ({}, "?/?"),
        ({"name": 7, "version": None}, "?/?"),
        ({"name": "a\nb\x1b[31m\u2028\u202e", "version": "1"}, "a?b?[31m??/1"),
        ({"name": "x" * 9999, "version": "y" * 9999}, "x" * 64 + "/" + "y" * 64),
    ],
)
def test_a_claim_is_one_short_line(info: dict[str, Any], shown: str) -> None:
    """A01, A02: nothing in it moves a cursor or begins a line."""
    assert said("initialize", clientInfo=info) == shown


def test_a_trace_is_found_in_the_body_first() -> None:
    call = a_request("tools/call", name="a", _meta={"traceparent": PARENT})
    headers = [(b"traceparent", b"00-" + b"1" * 32 + b"-b7ad6b7169203331-01")]
    assert trace_of(call.envelope, trace_header(headers)) == TRACE + "-b7ad6b7169203331"
    assert trace_of(None, trace_header(headers)) == "1" * 32 + "-b7ad6b7169203331"
    assert trace_of(a_request("ping").envelope, trace_header([])) is None


@given(st.text(max_size=30))
def test_what_is_no_trace_is_left_out(text: str) -> None:
    call = a_request("tools/call", name="a", _meta={"traceparent": text})
    found = trace_of(call.envelope, trace_header([]))
    assert found is None or len(found) == 49
