"""Tools of the conformance fixture server that need several rounds (2026-07-28, SEP-2322).

Each returns what it still needs and finishes once the client repeats the call with the answers.
"""

import json
from collections.abc import Awaitable, Callable
from typing import Any

import mcp_types as types
from mcp.server import ServerRequestContext
from mcp.shared.exceptions import MCPError

from tests.helpers.fixture_input import (
    accepted,
    ask,
    can_take,
    form,
    listed_roots,
    question,
    roots,
    sampled,
)

Context = ServerRequestContext[Any, Any]
Params = types.CallToolRequestParams
Answer = types.CallToolResult | types.InputRequiredResult

_NAME_FORM = form("What is your name?", {"name": {"type": "string"}})
_CONFIRM_FORM = form("Please confirm", {"ok": {"type": "boolean"}})


def _done(words: str) -> types.CallToolResult:
    return types.CallToolResult(content=[types.TextContent(type="text", text=words)])


async def _elicitation(context: Context, params: Params) -> Answer:
    name = accepted(params, "user_name", "name")
    if name is None:
        return ask(context, {"user_name": _NAME_FORM})
    return _done(f"Hello, {name}!")


async def _sampling(context: Context, params: Params) -> Answer:
    said = sampled(params, "capital_question")
    if said is None:
        request = question("What is the capital of France?", 100)
        return ask(context, {"capital_question": request})
    return _done(said)


async def _list_roots(context: Context, params: Params) -> Answer:
    found = listed_roots(params, "client_roots")
    if found is None:
        return ask(context, {"client_roots": roots()})
    return _done(f"Roots: {', '.join(found)}")


async def _request_state(context: Context, params: Params) -> Answer:
    if accepted(params, "confirm", "ok") is None:
        return ask(context, {"confirm": _CONFIRM_FORM}, state="asked to confirm")
    # The boundary has already refused a state that is not ours; here only a missing one is left.
    if params.request_state != "asked to confirm":
        raise MCPError(types.INVALID_PARAMS, "requestState is missing")
    return _done("state-ok")


async def _multiple_inputs(context: Context, params: Params) -> Answer:
    name = accepted(params, "user_name", "name")
    said = sampled(params, "greeting")
    found = listed_roots(params, "client_roots")
    if name is None or said is None or found is None:
        wanted: dict[str, types.InputRequest] = {
            "user_name": _NAME_FORM,
            "greeting": question("Generate a greeting", 50),
            "client_roots": roots(),
        }
        return ask(context, wanted, state="asked for three")
    return _done(f"{said} {name}, with {len(found)} roots")


async def _multi_round(context: Context, params: Params) -> Answer:
    known: dict[str, object] = json.loads(params.request_state or "{}")
    for key, field, prompt in (
        ("step1", "name", "Step 1: What is your name?"),
        ("step2", "color", "Step 2: What is your favorite color?"),
    ):
        if field in known:
            continue
        answer = accepted(params, key, field)
        if answer is None:
            request = form(prompt, {field: {"type": "string"}})
            return ask(context, {key: request}, state=json.dumps(known))
        known[field] = answer
    return _done(f"{known['name']} likes {known['color']}")


async def _capabilities(context: Context, params: Params) -> Answer:
    if params.input_responses:
        return _done("Thank you.")
    wanted: dict[str, types.InputRequest] = {
        "user_name": _NAME_FORM,
        "greeting": question("Generate a greeting", 50),
        "client_roots": roots(),
    }
    possible = {key: request for key, request in wanted.items() if can_take(context, request)}
    # With none possible, ask for the first: the refusal then names what is missing.
    return ask(context, possible or {"user_name": _NAME_FORM})


ROUND_TOOLS: tuple[tuple[str, str, Callable[[Context, Params], Awaitable[Answer]]], ...] = (
    ("test_streaming_elicitation", "Asks without a request on the stream", _elicitation),
    ("test_input_required_result_elicitation", "Asks for a name", _elicitation),
    ("test_input_required_result_sampling", "Asks the model", _sampling),
    ("test_input_required_result_list_roots", "Asks for root folders", _list_roots),
    ("test_input_required_result_request_state", "Keeps a state", _request_state),
    ("test_input_required_result_tampered_state", "Keeps a sealed state", _request_state),
    ("test_input_required_result_multiple_inputs", "Asks three things", _multiple_inputs),
    ("test_input_required_result_multi_round", "Asks one thing after another", _multi_round),
    ("test_input_required_result_capabilities", "Asks what it may", _capabilities),
)
