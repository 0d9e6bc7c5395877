"""What upstreams ask of agents: kept from agents, and answered to the upstream. Row L17."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs

from shared.jsonrpc.envelope import Envelope, parse
from shared.jsonrpc.needles import holds_name
from shared.jsonrpc.results import EditError, Editor
from shared.wire.codec import OpenHead
from tests.tunnel_client.upstream.http_support import OK, pool, raw_server, says
from tunnel_client.asked import MAX_REFUSED, NEEDLES, Asked, Refusals, reader
from tunnel_client.upstream.base import Headers, UpstreamRequest

FACTS = {"session": "s", "upstream": "git"}
DENIED = {"sampling/createMessage", "elicitation/create"}
SAMPLE: dict[str, Any] = {"jsonrpc": "2.0", "id": 5, "method": "sampling/createMessage"}
PROGRESS: dict[str, Any] = {"jsonrpc": "2.0", "method": "notifications/progress", "params": {}}
RESULT: dict[str, Any] = {"jsonrpc": "2.0", "id": 1, "result": {"content": []}}


def a_call(method: str = "tools/call") -> Envelope:
    params = {"name": "x", "uri": "x"}
    return parse(
        json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}).encode()
    )


def watched(
    refused: list[str | int], call: Envelope | None = None, *, events: bool = True
) -> Editor:
    asked = Asked(lambda method, _: method in DENIED, call, FACTS, refused.append)
    return reader(lambda _: None, asked, events=events, needles=NEEDLES)


async def test_a_refusal_is_sent_for_the_user_who_was_asked() -> None:
    """Where each user has a credential of their own, the upstream takes it with no other."""
    asked: list[str | None] = []

    def inject(request: UpstreamRequest) -> Headers:
        asked.append(request.user)
        return []

    async with raw_server(says(OK)) as server, pool(server.url, inject) as upstream:
        head = OpenHead("git", "POST", "a" * 32, "", [])
        Refusals().send(upstream, head, "alice", 5)
        await server.until(lambda: len(server.seen) == 1)
    assert asked == ["alice"]
    assert json.loads(server.seen[0].body)["error"]["message"] == "denied by policy"


def event(document: Any, before: str = "") -> bytes:
    return f"{before}event: message\ndata: {json.dumps(document)}\n\n".encode()


def data(body: bytes) -> list[Any]:
    return [json.loads(line[6:]) for line in body.split(b"\n") if line.startswith(b"data: ")]


def test_a_denied_request_is_left_out_of_a_stream_and_answered() -> None:
    refused: list[str | int] = []
    editor = watched(refused)
    roots = SAMPLE | {"method": "roots/list", "id": "r"}
    with capture_logs() as logs:
        out = [editor.feed(event(each)) for each in (PROGRESS, SAMPLE, roots, RESULT)]
    assert out == [event(PROGRESS), b"", event(roots), event(RESULT)]
    assert refused == [5]
    assert [(log["event"], log["asked"], log["upstream"]) for log in logs] == [
        ("denied_to_upstream", "'sampling/createMessage'", "git")
    ]


def test_the_place_in_the_stream_is_kept_where_the_event_is_not() -> None:
    editor = watched([])
    assert editor.feed(event(SAMPLE, "id: 7\nretry: 5\n")) == b"id: 7\nretry: 5\n\n"


@pytest.mark.parametrize(
    "text",
    [
        '{"jsonrpc":"2.0","id":5,"method":"sampling\\/createMessage"}',
        '{"jsonrpc":"2.0","id":5,"\\u006dethod":"sampling/createMessage"}',
        '{"jsonrpc":"2.0","id":5,"me\\u0074hod":"sampling/createMessage"}',
        '{"jsonrpc":"2.0","id":5,"method":"\\u0073ampling/createMessage"}',
        '{"jsonrpc":"2.0","id":5,"method":"sampling/createMessage","result":{}}',
        '{"jsonrpc":"2.0","id":5.5,"method":"sampling/createMessage"}',
        '{"jsonrpc":"2.0","method":"elicitation/create"}',
    ],
)
def test_no_spelling_hides_a_request(text: str) -> None:
    editor = watched([])
    assert editor.feed(b"data: " + text.encode() + b"\n\n") == b""
    in_pieces = watched([])
    assert (
        b"".join(in_pieces.feed(bytes([one])) for one in b"data: " + text.encode() + b"\n\n") == b""
    )


@given(st.integers(0, 63))
def test_a_needle_is_in_every_spelling_of_the_name(which: int) -> None:
    letters = [f"\\u{ord(c):04x}" if which >> at & 1 else c for at, c in enumerate("method")]
    assert holds_name(NEEDLES, f'{{"{"".join(letters)}":1}}'.encode())


@pytest.mark.parametrize("method", ["Method", "METHOD", "mETHOD", "\\u004dethod", "methO\\u0044"])
def test_a_request_in_other_case_ends_the_exchange(method: str) -> None:
    text = f'{{"jsonrpc": "2.0", "id": 5, "{method}": "sampling/createMessage"}}'
    event = b"data: " + text.encode() + b"\n\n"
    with pytest.raises(EditError):
        watched([]).feed(event)
    with pytest.raises(EditError):
        watched([], a_call()).rest(event)
    in_pieces = watched([])
    with pytest.raises(EditError):
        b"".join(in_pieces.feed(bytes([one])) for one in event)


@pytest.mark.parametrize(
    "said",
    [
        '"result":{"InputRequests":{"q":{"Method":"elicitation/create"}}}',
        '"result":{"InputRequests":{"q":{"method":"elicitation/create"}}}',
        '"result":{"inputRequests":{"q":{"Method":"elicitation/create"}}}',
        '"result":{"inputReque\u017ft\u017f":{"q":{"METHOD":"elicitation/create"}}}',
        '"Result":{"inputRequests":{"q":{"method":"elicitation/create"}}}',
        '"error":{"code":-32042,"message":"","Data":{"elicitations":[{}]}}',
        '"error":{"code":-32042,"message":"","data":{"Elicitations":[{}]}}',
        '"error":{"code":-32042,"message":"","data":{"elicitation\\u017f":[{}]}}',
        '"ERROR":{"code":-32042,"message":"","data":{"elicitation\u017f":[{}]}}',
    ],
)
def test_l17_a_question_in_other_case_ends_the_exchange(said: str) -> None:
    """Agents whose readers ignore case would be asked what policy denies."""
    text = f'{{"jsonrpc":"2.0","id":1,{said}}}'.encode()
    with pytest.raises(EditError):
        watched([], a_call(), events=False).rest(text)
    with pytest.raises(EditError):
        watched([], a_call()).feed(b"data: " + text + b"\n\n")


def test_what_is_not_concerned_passes_as_it_came() -> None:
    refused: list[str | int] = []
    editor = watched([])
    text = b'data: {"jsonrpc": "2.0",   "id": 1, "result": {"say": "\\"method\\""}}\r\n\r\n'
    assert editor.feed(text) + editor.end() == text
    nested = {
        "jsonrpc": "2.0",
        "id": 1,
        "result": {"structuredContent": {"method": "elicitation/create"}},
    }
    whole = json.dumps(nested).encode()
    assert watched(refused, a_call(), events=False).rest(whole) == whole
    assert refused == []


def asks(method: str) -> dict[str, Any]:
    requests = {"q": {"method": method, "params": {}}}
    return RESULT | {"result": {"resultType": "input_required", "inputRequests": requests}}


def test_a_modern_question_becomes_an_error_of_the_tool() -> None:
    editor = watched([], a_call(), events=False)
    result = json.loads(editor.rest(json.dumps(asks("elicitation/create")).encode()))["result"]
    assert result["isError"] is True
    assert result["resultType"] == "complete"
    assert result["content"][0]["text"].startswith("denied by policy (request ")
    allowed = json.dumps(asks("roots/list")).encode()
    assert watched([], a_call(), events=False).rest(allowed) == allowed


def test_a_condition_is_asked_about_numbers_as_it_knows_them() -> None:
    """Answers are read exactly, for the pins; conditions take doubles."""
    seen: list[Any] = []

    def forbids(method: str, params: Any) -> bool:
        seen.append(params)
        return False

    asked = Asked(forbids, a_call(), FACTS, lambda _: None)
    editor = reader(lambda _: None, asked, events=True, needles=NEEDLES)
    params = {"temperature": 0.5, "deep": [{"n": 1e300}], "maxTokens": 7}
    question = {"inputRequests": {"q": SAMPLE | {"params": params}}}
    for said in (SAMPLE | {"params": params}, RESULT | {"result": question}):
        assert editor.feed(event(said)) == event(said)
    assert seen == [params, params]
    assert [type(one["temperature"]) for one in seen] == [float, float]


@pytest.mark.parametrize("number", [1.5, None, [2.5], "a"])
def test_a_question_is_denied_under_whatever_id_it_comes(number: Any) -> None:
    said = json.dumps(asks("elicitation/create") | {"id": number}).encode()
    for method in ("tools/call", "resources/read"):
        out = json.loads(watched([], a_call(method), events=False).rest(said))
        assert out["id"] == number
        assert "inputRequests" not in str(out)


@pytest.mark.parametrize("method", ["notifications/x", "roots/list", 1, None])
def test_l17_a_question_beside_a_method_is_a_question_too(method: object) -> None:
    """Who looks for a result first reads it as an answer."""
    said = json.dumps(asks("elicitation/create") | {"method": method}).encode()
    for out in (
        watched([], a_call(), events=False).rest(said),
        watched([], a_call()).feed(b"data: " + said + b"\n\n"),
    ):
        assert b"elicitation/create" not in out
        assert b"denied by policy" in out


def test_other_methods_get_an_error_that_promises_nothing() -> None:
    editor = watched([], a_call("resources/read"), events=False)
    said = json.loads(editor.rest(json.dumps(asks("sampling/createMessage")).encode()))
    assert (said["id"], said["error"]["code"]) == (1, -31005)
    assert said["error"]["data"]["delivery"] == "unknown"


def test_an_error_that_leads_to_a_page_is_a_question_too() -> None:
    page = {"mode": "url", "url": "https://evil.example.com/", "message": "log in"}
    error = {"code": -32042, "message": "first", "data": {"elicitations": [page]}}
    said = {"jsonrpc": "2.0", "id": 1, "error": error}
    out = watched([], a_call()).feed(event(said))
    assert b"evil" not in out
    assert data(out)[0]["result"]["isError"] is True


def test_a_request_in_the_place_of_an_answer_ends_the_exchange() -> None:
    refused: list[str | int] = []
    with pytest.raises(EditError):
        watched(refused, a_call(), events=False).rest(json.dumps(SAMPLE).encode())
    assert refused == [5]


def test_asking_without_end_ends_the_exchange() -> None:
    refused: list[str | int] = []
    editor = watched(refused)
    for _ in range(MAX_REFUSED):
        editor.feed(event(SAMPLE))
    with pytest.raises(EditError):
        editor.feed(event(SAMPLE))
    assert len(refused) == MAX_REFUSED


def test_a_filtered_list_is_still_filtered() -> None:
    asked = Asked(lambda *_: True, None, FACTS, lambda _: None)
    editor = reader(lambda document: document | {"seen": True}, asked, events=True)
    assert data(editor.feed(event(RESULT))) == [RESULT | {"seen": True}]
    assert editor.feed(event(PROGRESS)) == event(PROGRESS)
    assert editor.feed(event(SAMPLE)) == b""
