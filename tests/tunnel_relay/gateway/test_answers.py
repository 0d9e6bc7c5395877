import json

import pytest

from shared.errors import NEVER_SENT, ResetCode
from shared.jsonrpc.envelope import EnvelopeError
from tunnel_relay.gateway import answers
from tunnel_relay.gateway.answers import Answer

ALL = [value for value in vars(answers).values() if isinstance(value, Answer)]


@pytest.mark.parametrize("answer", ALL)
def test_own_answers_are_json_rpc_and_never_cached(answer: Answer) -> None:
    error = json.loads(answer.body)["error"]
    assert error["data"]["origin"] == "relay"
    assert dict(answer.headers)[b"content-type"] == b"application/json"
    assert dict(answer.headers)[b"cache-control"] == b"no-store"


def test_the_end_of_an_mcp_session_tells_the_person_what_to_do() -> None:
    assert answers.MCP_SESSION_GONE.status == 404
    assert b"reconnect" in answers.MCP_SESSION_GONE.body


def test_a_challenge_has_an_error_only_when_a_token_came() -> None:
    without, bad = answers.unauthorized("https://r", False), answers.unauthorized("https://r", True)
    assert without.body == bad.body
    assert b"error" not in dict(without.headers)[b"www-authenticate"]
    assert b'error="invalid_token"' in dict(bad.headers)[b"www-authenticate"]


@pytest.mark.parametrize("code", list(ResetCode))
@pytest.mark.parametrize("message_id", [7, "seven", None])
def test_a_failure_echoes_the_id_and_says_what_became_of_the_call(
    code: ResetCode, message_id: int | str | None
) -> None:
    answer = answers.failed(code, message_id)
    document = json.loads(answer.body)
    assert document["id"] == message_id
    if code is ResetCode.NEEDS_APPROVAL and message_id is not None:
        assert (answer.status, document["result"]["isError"]) == (200, True)
        return
    error = document["error"]
    assert not -32768 <= error["code"] <= -32000
    assert error["data"]["delivery"] == ("never_sent" if code in NEVER_SENT else "unknown")
    assert 400 <= answer.status < 600
    assert (b"retry-after" in dict(answer.headers)) == (answer.status == 503)


def test_a_retry_is_suggested_only_for_what_was_never_sent() -> None:
    retried = {code for code in ResetCode if answers.failed(code, 1).status == 503}
    assert retried <= NEVER_SENT


def test_a_disconnected_client_is_named_with_a_time_to_wait() -> None:
    answer = answers.not_connected("x", 5)
    error = json.loads(answer.body)["error"]
    assert (answer.status, dict(answer.headers)[b"retry-after"]) == (503, b"5")
    assert error["data"] == {"origin": "relay", "delivery": "never_sent"}


@pytest.mark.parametrize("code", list(ResetCode))
def test_the_last_event_of_a_cut_stream_is_one_whole_event(code: ResetCode) -> None:
    event = answers.failure_event(code, 3)
    assert event.startswith(b"event: message\ndata: ")
    assert event.endswith(b"\n\n")
    assert event.count(b"\n\n") == 1
    document = json.loads(event.split(b"data: ")[1])
    assert document["id"] == 3
    assert document["error"]["data"]["delivery"] in ("never_sent", "unknown")


def test_a_refused_envelope_keeps_the_protocols_own_code() -> None:
    answer = answers.envelope_refused(EnvelopeError(-32600, "no", id="x"))
    assert json.loads(answer.body) == {
        "jsonrpc": "2.0",
        "id": "x",
        "error": {"code": -32600, "message": "no"},
    }
