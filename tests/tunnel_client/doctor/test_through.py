"""What comes back of a call through the relay is judged, and nothing that comes back breaks it."""

import json

import pytest

from tunnel_client.doctor.errors import CallFailedError
from tunnel_client.doctor.through import judge_call, session_command
from tunnel_client.errors_connect import TokenRefusedError

RESULT = json.dumps({"jsonrpc": "2.0", "id": 1, "result": {"protocolVersion": "2025-11-25"}})
REFUSED = json.dumps(
    {"jsonrpc": "2.0", "id": 1, "error": {"message": "no client", "data": {"origin": "relay"}}}
)


@pytest.mark.parametrize("body", [RESULT, f": hi\n\nevent: message\ndata: {RESULT}\n\n"])
def test_an_answer_passes_in_either_form(body: str) -> None:
    assert judge_call(200, body.encode(), "lab/x") == "initialize of lab/x answered: 2025-11-25"


def test_a_token_that_is_not_taken_is_told_from_one_for_elsewhere() -> None:
    with pytest.raises(TokenRefusedError):
        judge_call(401, b"", "lab/x")
    with pytest.raises(CallFailedError, match="404"):
        judge_call(404, b"{}", "lab/x")


@pytest.mark.parametrize("body", [b"", b"[]", b"[" * 50_000, b"\xff", REFUSED.encode()])
def test_anything_else_fails_with_its_status(body: bytes) -> None:
    with pytest.raises(CallFailedError, match="HTTP 503"):
        judge_call(503, body, "lab/x")


def test_the_command_for_a_session_holds_no_token() -> None:
    shown = session_command("lab", "x")
    assert "--server lab/x" in shown
    assert "mts_" not in shown
