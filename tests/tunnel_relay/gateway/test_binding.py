"""What a session was handed is its own (over connections: tests/integration/test_tasks.py)."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from structlog.testing import capture_logs

from shared.ids import new_id
from shared.jsonrpc.envelope import CAPABILITIES_KEY, MODERN, VERSION_KEY, parse
from shared.jsonrpc.results import MAX_WATCHED, EditError
from tunnel_relay.gateway.binding import Binding
from tunnel_relay.gateway.call import Call
from tunnel_relay.gateway.checks import Request
from tunnel_relay.gateway.claims import TASKS_EXTENSION
from tunnel_relay.gateway.responses import ResponseHead
from tunnel_relay.gateway.states import STATE_SECONDS
from tunnel_relay.store.base import Session
from tunnel_relay.tasks import TaskTable

NOW = 1000.0
JSON_HEAD = ResponseHead(200, b"", False, None, None)
EVENTS_HEAD = ResponseHead(200, b"", True, None, None)


def a_session(user: str = "ada") -> Session:
    made = new_id()
    return Session(made, made.encode(), user, "claude", "lab", "git", NOW, NOW + 60, 60.0, NOW)


def a_call(session: Session, method: str, *, modern: bool = True, **params: Any) -> Call:
    if modern:
        capabilities: dict[str, Any] = {"extensions": {TASKS_EXTENSION: {}}}
        params["_meta"] = {VERSION_KEY: MODERN, CAPABILITIES_KEY: capabilities}
    request = Request()
    request.method = b"POST"
    body = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
    return Call(request, session, parse(json.dumps(body).encode()))


def answer(result: Any) -> bytes:
    return json.dumps({"jsonrpc": "2.0", "id": 1, "result": result}).encode()


ASKS = answer({"resultType": "input_required", "requestState": "blob"})
TASK = answer({"resultType": "task", "taskId": "t", "status": "working"})


def pass_whole(binding: Binding, call: Call, body: bytes) -> None:
    assert binding.whole(call, JSON_HEAD, body) is body


def pass_in_pieces(binding: Binding, call: Call, body: bytes) -> None:
    reader = binding.reader(call, JSON_HEAD)
    assert reader is not None
    for at in range(0, len(body), 7):
        piece = body[at : at + 7]
        assert reader.feed(piece) is piece
    assert reader.end() == b""


def pass_as_event(binding: Binding, call: Call, body: bytes) -> None:
    event = b"data: " + body + b"\n\n"
    assert binding.whole(call, EVENTS_HEAD, event) == event


@pytest.mark.parametrize("deliver", [pass_whole, pass_in_pieces, pass_as_event])
def test_s20_s21_what_an_answer_hands_out_is_bound_however_it_comes(
    deliver: Callable[[Binding, Call, bytes], None],
) -> None:
    binding, mine = Binding(TaskTable()), a_session()
    deliver(binding, a_call(mine, "tools/call", name="x"), TASK)
    deliver(binding, a_call(mine, "tools/call", name="x"), ASKS)
    assert binding.admit(a_call(mine, "tasks/get", taskId="t")) is None
    assert binding.admit(a_call(a_session("eve"), "tasks/get", taskId="t")) is not None
    again = a_call(mine, "tools/call", name="x", requestState="blob")
    assert binding.admit(again) is None
    assert binding.admit(again) is not None


def test_s20_an_hour_later_a_state_is_over() -> None:
    now = NOW
    binding, mine = Binding(TaskTable(), now=lambda: now), a_session()
    pass_whole(binding, a_call(mine, "prompts/get", name="x"), ASKS)
    now += STATE_SECONDS
    assert binding.admit(a_call(mine, "prompts/get", name="x", requestState="blob")) is not None
    binding.forget(now)


def test_what_was_never_sent_used_nothing_up() -> None:
    binding, mine = Binding(TaskTable()), a_session()
    pass_whole(binding, a_call(mine, "resources/read", uri="a:b"), ASKS)
    call = a_call(mine, "resources/read", uri="a:b", requestState="blob")
    assert binding.admit(call) is None
    binding.give_back(call)
    binding.give_back(call)
    assert binding.admit(call) is None
    plain = a_call(mine, "tools/list")
    binding.give_back(plain)
    assert binding.admit(plain) is None


def test_the_refusal_is_that_of_the_calls_era() -> None:
    binding, mine = Binding(TaskTable()), a_session()
    for modern, status in ((True, 400), (False, 200)):
        refused = binding.admit(a_call(mine, "tasks/get", modern=modern, taskId="t"))
        assert refused is not None
        assert refused.status == status
        unknown = binding.admit(a_call(mine, "tasks/get", modern=modern, taskId="u"))
        assert unknown == refused


def test_s21_a_list_is_cut_down_and_one_that_cannot_be_read_does_not_pass() -> None:
    binding, mine = Binding(TaskTable()), a_session()
    pass_whole(binding, a_call(mine, "tools/call", name="x"), TASK)
    call = a_call(mine, "tasks/list")
    own, other = {"taskId": "t"}, {"taskId": "u"}
    body = answer({"tasks": [other, own, 7], "nextCursor": "c"})
    made = json.loads(binding.whole(call, JSON_HEAD, body))
    assert made["result"] == {"tasks": [own], "nextCursor": "c"}
    pass_whole(binding, call, b"")
    assert binding.whole(call, JSON_HEAD, answer({"tasks": [own]})) == answer({"tasks": [own]})
    for broken in (answer({"tasks": "t"}), b'{"result":{"tasks":[],"tasks":[7]}}', b"[]"):
        with pytest.raises(EditError):
            binding.whole(call, JSON_HEAD, broken)
    # No agent takes a list from a failure.
    refused = JSON_HEAD._replace(status=404)
    assert binding.whole(call, refused, b"not found") == b"not found"


MEMBERS = ["tools", "prompts", "resources", "resourceTemplates"]


@pytest.mark.parametrize("spell", [str, lambda name: f"\\u{ord(name[0]):04x}{name[1:]}"])
@pytest.mark.parametrize("member", MEMBERS)
def test_p33_a_list_on_a_resumed_stream_is_filtered_however_it_is_spelled(
    member: str, spell: Callable[[str], str]
) -> None:
    """Most of what a resumed stream brings passes unread; what could be a list does not."""
    binding, request = Binding(TaskTable()), Request()
    request.method = b"GET"
    call = Call(request, a_session(), None)
    call.edit = lambda document: {**document, "result": {member: []}}
    reader = binding.reader(call, EVENTS_HEAD)
    assert reader is not None
    plain = b'data: {"jsonrpc":"2.0","id":1,"result":{"content":[]}}\n\n'
    assert reader.feed(plain) == plain
    text = answer({member: [{"name": "hidden"}]}).replace(member.encode(), spell(member).encode())
    assert spell(member).encode() in text
    assert b"hidden" not in reader.feed(b"data: " + text + b"\n\n")


@pytest.mark.parametrize("spell", ['"tasks"', '"\\u0074asks"'])
@pytest.mark.parametrize("key", ['"taskId"', '"task\\u0049d"'])
def test_s21_a_list_of_tasks_on_a_resumed_stream_is_cut_down(spell: str, key: str) -> None:
    request = Request()
    request.method = b"GET"
    reader = Binding(TaskTable()).reader(Call(request, a_session(), None), EVENTS_HEAD)
    assert reader is not None
    text = answer({"tasks": [{"taskId": "of-another"}]}).decode()
    text = text.replace('"tasks"', spell).replace('"taskId"', key)
    assert b"of-another" not in reader.feed(f"data: {text}\n\n".encode())


@pytest.mark.parametrize("member", [*MEMBERS, "tasks"])
@pytest.mark.parametrize("spell", [str.upper, lambda name: name.replace("s", "\\u017f", 1)])
def test_p33_s21_no_list_passes_a_resumed_stream_in_other_case(
    member: str, spell: Callable[[str], str]
) -> None:
    request = Request()
    request.method = b"GET"
    reader = Binding(TaskTable()).reader(Call(request, a_session(), None), EVENTS_HEAD)
    assert reader is not None
    text = f'{{"jsonrpc":"2.0","id":1,"result":{{"{spell(member)}":[{{"id":"of-another"}}]}}}}'
    with pytest.raises(EditError):
        reader.feed(f"data: {text}\n\n".encode())


def test_most_answers_are_not_looked_into() -> None:
    binding, mine = Binding(TaskTable()), a_session()
    for call in (a_call(mine, "tools/list"), a_call(mine, "tools/call", modern=False, name="x")):
        assert call.claim is None
        assert binding.reader(call, JSON_HEAD) is None
        assert binding.whole(call, JSON_HEAD, TASK) is TASK
    on_task = a_call(mine, "tasks/get", taskId="t")
    assert binding.reader(on_task, JSON_HEAD) is None


def test_what_is_too_large_to_be_looked_into_binds_nothing_and_is_said() -> None:
    binding, mine = Binding(TaskTable()), a_session()
    call = a_call(mine, "tools/call", name="x")
    body = answer({"resultType": "task", "taskId": "t", "x": "y" * MAX_WATCHED})
    reader = binding.reader(call, JSON_HEAD)
    assert reader is not None
    assert reader.feed(body) is body
    reader.end()
    with capture_logs() as logs:
        binding.ended(call, reader)
    assert [line["event"] for line in logs] == ["answer_not_looked_into"]
    assert binding.admit(a_call(mine, "tasks/get", taskId="t")) is not None
