"""What a request says about tasks and states."""

import json
from typing import Any

import pytest

from shared.jsonrpc.envelope import CAPABILITIES_KEY, MODERN, VERSION_KEY, parse
from tunnel_relay.gateway.claims import RELATED_TASK, TASKS_EXTENSION, Claim, read_claim

STATES: list[Any] = ["blob", "", 5, []]
DECLARED: dict[str, Any] = {CAPABILITIES_KEY: {"extensions": {TASKS_EXTENSION: {}}}}


def claim(
    method: str, meta: dict[str, Any] | None = None, *, modern: bool = True, **params: Any
) -> Claim | None:
    said = {VERSION_KEY: MODERN, CAPABILITIES_KEY: {}} if modern else {}
    params["_meta"] = said | (meta or {})
    body = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
    return read_claim(parse(json.dumps(body).encode()), modern)


def test_most_messages_claim_nothing() -> None:
    assert claim("tools/list") is None
    assert claim("tools/call", modern=False, name="echo") is None
    assert claim("subscriptions/listen", notifications={"toolsListChanged": True}) is None
    note = b'{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":1}}'
    assert read_claim(parse(note), False) is None
    assert read_claim(parse(b'{"jsonrpc":"2.0","id":1,"result":{"taskId":"x"}}'), False) is None
    assert read_claim(parse(b'{"jsonrpc":"2.0","id":1,"method":"ping"}'), False) is None


@pytest.mark.parametrize("method", ["tasks/get", "tasks/update", "tasks/cancel", "tasks/result"])
def test_a_request_on_a_task_names_it(method: str) -> None:
    found = claim(method, taskId="t")
    assert found is not None
    assert found.tasks == ("t",)
    for odd in (None, 5, ["t"]):
        found = claim(method, taskId=odd)
        assert found is not None
        assert found.tasks == (None,)
    found = claim(method)
    assert found is not None
    assert found.tasks == (None,)


def test_a_legacy_request_asks_for_a_task_and_a_modern_one_declares_the_extension() -> None:
    legacy = claim("tools/call", modern=False, name="slow", task={"ttl": 1})
    assert legacy == Claim(begins=True)
    modern = claim("tools/call", DECLARED, name="slow")
    assert modern == Claim(begins=True, asks=True)
    assert claim("tools/call", name="slow") == Claim(asks=True)
    strange: list[Any] = [{}, {"extensions": None}, {"extensions": []}, []]
    for odd in strange:
        found = claim("tools/call", {CAPABILITIES_KEY: odd}, name="slow")
        assert found == Claim(asks=True)


def test_a_list_of_tasks_is_one_in_both_eras() -> None:
    for modern in (True, False):
        found = claim("tasks/list", modern=modern)
        assert found is not None
        assert found.lists


def test_a_state_is_claimed_whatever_the_method_and_era() -> None:
    for modern in (True, False):
        for state in STATES:
            found = claim("tools/call", modern=modern, name="x", requestState=state)
            assert found is not None
            assert found.state == state
    found = claim("tools/list", requestState="blob")
    assert found is not None
    assert found.state == "blob"


def test_tasks_that_are_listened_to_or_said_to_be_related_count() -> None:
    found = claim("subscriptions/listen", notifications={"taskIds": ["a", 5]})
    assert found is not None
    assert found.tasks == ("a", None)
    found = claim("subscriptions/listen", notifications={"taskIds": "a"})
    assert found is not None
    assert found.tasks == (None,)
    found = claim("tools/list", {RELATED_TASK: {"taskId": "a"}})
    assert found is not None
    assert found.tasks == ("a",)
    for odd in ({}, None, {"taskId": 1}):
        found = claim("tools/list", {RELATED_TASK: odd})
        assert found is not None
        assert found.tasks == (None,)
