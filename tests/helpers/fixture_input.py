"""How the conformance fixture server asks a person, a model or a client for something.

A modern client (2026-07-28) gets an `input_required` result and repeats its request with the
answers; a legacy client gets a request on the open stream.
"""

from collections.abc import Mapping
from typing import Any

import mcp_types as types
from mcp.server import ServerRequestContext
from mcp.shared.exceptions import MCPError

_NEEDS = {
    "elicitation/create": types.ClientCapabilities(elicitation=types.ElicitationCapability()),
    "sampling/createMessage": types.ClientCapabilities(sampling=types.SamplingCapability()),
    "roots/list": types.ClientCapabilities(roots=types.RootsCapability()),
}


def form(message: str, properties: dict[str, Any]) -> types.ElicitRequest:
    """Return a request for a form in which every property has to be filled."""
    schema = {"type": "object", "properties": properties, "required": list(properties)}
    return types.ElicitRequest(
        params=types.ElicitRequestFormParams(message=message, requested_schema=schema)
    )


def question(prompt: str, max_tokens: int) -> types.CreateMessageRequest:
    """Return a request for the client's language model."""
    content = types.TextContent(type="text", text=prompt)
    return types.CreateMessageRequest(
        params=types.CreateMessageRequestParams(
            messages=[types.SamplingMessage(role="user", content=content)], max_tokens=max_tokens
        )
    )


def roots() -> types.ListRootsRequest:
    """Return a request for the client's root folders."""
    return types.ListRootsRequest(params=types.RequestParams())


def can_take(context: ServerRequestContext[Any, Any], request: types.InputRequest) -> bool:
    """Tell whether the client declared what it needs to answer this request."""
    return context.session.check_client_capability(_NEEDS[request.method])


def require(context: ServerRequestContext[Any, Any], request: types.InputRequest) -> None:
    """Raise `MCPError` -32021 naming the missing capability unless the client declared it."""
    if can_take(context, request):
        return
    missing = types.MissingRequiredClientCapabilityErrorData(
        required_capabilities=_NEEDS[request.method]
    )
    raise MCPError(
        types.MISSING_REQUIRED_CLIENT_CAPABILITY,
        f"The client did not declare what {request.method} needs",
        missing.model_dump(by_alias=True, mode="json", exclude_none=True),
    )


def ask(
    context: ServerRequestContext[Any, Any],
    requests: Mapping[str, types.InputRequest],
    state: str | None = None,
) -> types.InputRequiredResult:
    """Return the result that asks for all of `requests`; raises like `require`.

    The state goes out sealed and comes back opened: the server's request-state boundary does both.
    """
    for request in requests.values():
        require(context, request)
    return types.InputRequiredResult(input_requests=dict(requests), request_state=state)


def accepted(params: types.InputResponseRequestParams, key: str, field: str) -> object | None:
    """Return what the person wrote in `field` of form `key`, `None` unless they accepted it."""
    answer = (params.input_responses or {}).get(key)
    if isinstance(answer, types.ElicitResult) and answer.action == "accept":
        return (answer.content or {}).get(field)
    return None


def sampled(params: types.InputResponseRequestParams, key: str) -> str | None:
    """Return the text that the client's model answered to `key`, `None` without one."""
    answer = (params.input_responses or {}).get(key)
    if isinstance(answer, types.CreateMessageResult) and isinstance(
        answer.content, types.TextContent
    ):
        return answer.content.text
    return None


def listed_roots(params: types.InputResponseRequestParams, key: str) -> list[str] | None:
    """Return the addresses of the root folders answered to `key`, `None` without an answer."""
    answer = (params.input_responses or {}).get(key)
    if isinstance(answer, types.ListRootsResult):
        return [str(root.uri) for root in answer.roots]
    return None
