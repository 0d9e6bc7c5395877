"""What the agent is told when there is no answer."""

import json

import pytest

from tunnel_client.connect.faults import error_of, fault
from tunnel_client.errors_connect import ConnectBusyError, LoginTimeoutError


def test_a_fault_says_code_cause_next_and_whether_the_call_ran() -> None:
    told = json.loads(fault(LoginTimeoutError("nobody came"), "a", "never_sent"))
    assert (told["id"], told["error"]["code"]) == ("a", -31004)
    assert told["error"]["message"].startswith("MT2052: nobody came; next: ")
    assert told["error"]["data"]["delivery"] == "never_sent"
    assert json.loads(fault(ConnectBusyError("x"), 1, "never_sent"))["error"]["code"] == -31001
    assert json.loads(fault(ConnectBusyError("x"), 1, "unknown"))["error"]["code"] == -31002


def test_an_error_of_the_server_is_addressed_to_who_asked() -> None:
    body = b'{"jsonrpc":"2.0","id":null,"error":{"code":-31003,"message":"m","data":{"a":1}}}'
    told = json.loads(error_of(body, 9) or b"")
    assert told == {
        "jsonrpc": "2.0",
        "id": 9,
        "error": {"code": -31003, "message": "m", "data": {"a": 1}},
    }


@pytest.mark.parametrize(
    "body", [b"", b"<html>", b"[]", b"{}", b'{"error":"x"}', b'{"error":{"code":true}}', b"\xff"]
)
def test_what_holds_no_error_gives_none(body: bytes) -> None:
    assert error_of(body, 1) is None
