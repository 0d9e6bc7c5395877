"""What upstreams send is read in one way only."""

import json
from typing import Any

import pytest

from shared.jsonrpc.envelope import EnvelopeError
from shared.jsonrpc.strict import read_strict

ASK: dict[str, Any] = {"method": "elicitation/create", "params": {"mode": "form"}}
PAGE: dict[str, Any] = {"mode": "url", "url": "https://a.example.com/"}
ELICITED = (
    *("Mode", "URL", "Message", "meSSage", "RequestedSchema", "requested\u017fchema"),
    *("elicitationID", "Task", "_Meta"),
)
SAMPLED = (
    *("Messages", "Tools", "ToolChoice", "systemprompt", "ModelPreferences", "includecontext"),
    *("MaxTokens", "maxTo\u212aens", "Temperature", "stopsequences", "Metadata"),
)


def refused(document: object) -> int:
    with pytest.raises(EnvelopeError) as caught:
        read_strict(json.dumps(document).encode())
    return caught.value.code


def result(**members: Any) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": 1, "result": members}


def error(**members: Any) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": 1, "error": {"code": -32042, "message": "", **members}}


def asks(name: str) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": 1, "method": "elicitation/create", "params": {name: "url"}}


@pytest.mark.parametrize(
    "document",
    [
        *(result(Tools=[]), result(PROMPTS=[]), result(Resources=[]), result(Tasks=[])),
        *(result(resourcetemplates=[]), result(ResourceTemplates=[]), result(Instructions="x")),
        *(result(InputRequests={"q": ASK}), result(RequestState="x"), result(CacheScope="public")),
        *(result(TaskId="t"), result(Task={}), result(ResultType="task")),
        *({"id": 1, "result": {name: []}} for name in ("resource\u017f", "tas\u212as")),
        result(inputRequests={"q": {"Method": "elicitation/create"}}),
        result(inputRequests={"p": ASK, "q": {"method": "roots/list", "Params": {}}}),
        *(error(Data={"elicitations": [PAGE]}), error(data={"Elicitations": [PAGE]})),
        error(data={"elicitation\u017f": [PAGE]}),
        *({"jsonrpc": "2.0", "id": 1, "Result": {}}, {"jsonrpc": "2.0", "id": 1, "Method": "x"}),
        *(asks(name) for name in (*ELICITED, *SAMPLED)),
        *(result(inputRequests={"p": ASK, "q": asks(name)}) for name in (*ELICITED, *SAMPLED)),
        *(error(data={"elicitations": [PAGE, {name: "url"}]}) for name in ELICITED),
    ],
)
def test_h15_a_known_name_in_other_case_is_refused_even_alone(document: dict[str, Any]) -> None:
    """Go and .NET take it for the known one, and so would agents that are written in them."""
    assert refused(document) == -32600


@pytest.mark.parametrize(
    "document",
    [
        result(more=1, More=2),
        result(tools=[], Tools=[]),
        result(inputRequests={"q": ASK | {"METHOD": "roots/list"}}),
        result(inputRequests={"q": {"method": "x", "params": {"mode": "form", "Mode": "url"}}}),
        error(data={"elicitations": [PAGE | {"URL": "https://b.example.com/"}]}),
        error(data={"elicitations": [], "elicitation\u017f": [PAGE]}),
        {"jsonrpc": "2.0", "id": 1, "method": "x", "params": {"mode": "form", "Mode": "url"}},
    ],
)
def test_p05_two_names_that_differ_by_case_only_are_refused_where_rules_look(
    document: dict[str, Any],
) -> None:
    assert refused(document) == -32700


@pytest.mark.parametrize(
    "document",
    [
        result(content=[{"Tools": 1, "tools": 2}], Structured={"Method": 1}),
        result(tools=[{"name": "a", "inputSchema": {"properties": {"a": {}, "A": {}}}}]),
        result(inputRequests={"Q": ASK, "q": ASK}),
        *({"jsonrpc": "2.0", "method": "notifications/x", "params": {n: 1}} for n in SAMPLED),
        result(inputRequests={"q": ASK | {"params": {"mode": "form", "more": {"Mode": 1}}}}),
        error(data={"elicitations": [PAGE | {"Tools": 1}]}),
        result(inputRequests=[1]),
        result(inputRequests={"q": 1}),
        error(data="Elicitations"),
        error(data={"url": 1, "elicitations": "x"}),
        error(data={"elicitations": [1]}),
        {"jsonrpc": "2.0", "id": 1, "result": None, "error": []},
        {"jsonrpc": "2.0", "method": "notifications/message", "params": {"data": {"a": 1, "A": 2}}},
        {"jsonrpc": "2.0", "method": "x", "params": []},
    ],
)
def test_what_is_said_further_in_is_the_upstreams(document: dict[str, Any]) -> None:
    assert read_strict(json.dumps(document).encode()) == document


@pytest.mark.parametrize("text", [b"", b"{", b'{"a":1,"a":2}', b'{"a":NaN}', b"\xff"])
def test_what_is_not_strict_json_is_refused(text: bytes) -> None:
    with pytest.raises(EnvelopeError) as caught:
        read_strict(text)
    assert caught.value.code == -32700


@pytest.mark.parametrize("text", [b"[]", b"1", b"null", b'[{"result":{}}]'])
def test_what_is_no_object_is_refused(text: bytes) -> None:
    with pytest.raises(EnvelopeError) as caught:
        read_strict(text)
    assert caught.value.code == -32600


def test_numbers_are_read_exactly_where_that_is_asked_for() -> None:
    text = b'{"jsonrpc":"2.0","id":1,"result":{"n":0.10000000000000001}}'
    assert read_strict(text)["result"]["n"] == 0.1
    assert str(read_strict(text, exactly=True)["result"]["n"]) == "0.10000000000000001"
