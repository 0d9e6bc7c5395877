"""Tools of the conformance fixture server, by the names that the MCP conformance suite calls."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import anyio
import mcp_types as types
from mcp.server import ServerRequestContext
from mcp.server.subscriptions import (
    PromptsListChanged,
    ServerEvent,
    SubscriptionBus,
    ToolsListChanged,
)

from tests.helpers.fixture_content import PNG, WAV, embedded
from tests.helpers.fixture_input import form, question, require
from tests.helpers.fixture_rounds import ROUND_TOOLS

Context = ServerRequestContext[Any, Any]
Params = types.CallToolRequestParams
Answer = types.CallToolResult | types.InputRequiredResult
Run = Callable[[Context, Params], Awaitable[Answer]]

# The suite asks for pauses of about 50 ms, so that notifications leave one by one.
PAUSE_SECONDS = 0.05


@dataclass(frozen=True, slots=True)
class FixtureTool:
    """One tool: what `tools/list` shows of it and what `tools/call` runs."""

    name: str
    description: str
    run: Run
    schema: dict[str, Any]

    def listed(self) -> types.Tool:
        """Return the entry of `tools/list`."""
        return types.Tool(
            name=self.name, description=self.description, input_schema=dict(self.schema)
        )


def result(*blocks: types.ContentBlock, is_error: bool = False) -> types.CallToolResult:
    """Return a complete tool result."""
    return types.CallToolResult(content=list(blocks), is_error=is_error)


def text(words: str) -> types.TextContent:
    """Return a text block."""
    return types.TextContent(type="text", text=words)


def _object(**properties: dict[str, Any]) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": list(properties)}


_IMAGE = types.ImageContent(type="image", data=PNG, mime_type="image/png")
_AUDIO = types.AudioContent(type="audio", data=WAV, mime_type="audio/wav")


def _fixed(*blocks: types.ContentBlock, is_error: bool = False) -> Run:
    async def run(_: Context, __: Params) -> Answer:
        return result(*blocks, is_error=is_error)

    return run


async def _log_three_times(context: Context, _: Params) -> Answer:
    steps = ("Tool execution started", "Tool processing data", "Tool execution completed")
    for step in steps:
        await context.session.send_log_message("info", step, related_request_id=context.request_id)
        await anyio.sleep(PAUSE_SECONDS)
    return result(text("Logged three times."))


async def _report_progress(context: Context, _: Params) -> Answer:
    for percent in (0, 50, 100):
        await context.session.report_progress(percent, 100)
        await anyio.sleep(PAUSE_SECONDS)
    return result(text("Reported progress three times."))


async def _sample(context: Context, params: Params) -> Answer:
    request = question(str((params.arguments or {}).get("prompt", "")), 100)
    if (refusal := _cannot_send(context)) is not None:
        return refusal
    require(context, request)
    answer = await context.session.create_message(
        request.params.messages,
        max_tokens=request.params.max_tokens,
        related_request_id=context.request_id,
    )
    said = answer.content.text if isinstance(answer.content, types.TextContent) else "(no text)"
    return result(text(f"LLM response: {said}"))


def _elicit(answered: str, message: str, properties: dict[str, Any], required: list[str]) -> Run:
    schema = {"type": "object", "properties": properties, "required": required}

    async def run(context: Context, params: Params) -> Answer:
        if (refusal := _cannot_send(context)) is not None:
            return refusal
        require(context, form(message, properties))
        reply = await context.session.elicit_form(
            str((params.arguments or {}).get("message", message)),
            schema,
            related_request_id=context.request_id,
        )
        return result(text(f"{answered}: action={reply.action}, content={reply.content}"))

    return run


def _cannot_send(context: Context) -> Answer | None:
    # A modern client takes no requests on its stream; the test_input_required_* tools are for it.
    if context.session.can_send_request:
        return None
    return result(text("This tool needs a client that takes requests."), is_error=True)


async def _close_stream_then_answer(context: Context, _: Params) -> Answer:
    # Only Streamable HTTP has a stream to close; over stdio the answer just follows.
    if context.close_sse_stream is not None:
        await context.close_sse_stream()
    # At once: the answer is then always stored before the client can be back to have it replayed.
    # One that came just as the client does could fall between the replay and the new stream.
    return result(text("Answered after the stream was closed."))


async def _refuse_without_sampling(context: Context, _: Params) -> Answer:
    require(context, question("Are you there?", 10))
    return result(text("The client declared sampling."))


async def _echo(_: Context, params: Params) -> Answer:
    return result(text(f"Arguments: {params.arguments or {}}"))


def _publish(bus: SubscriptionBus, event: ServerEvent) -> Run:
    async def run(_: Context, __: Params) -> Answer:
        await bus.publish(event)
        return result(text("Told the subscribers."))

    return run


def _choices(kind: str, *values: tuple[str, str]) -> list[dict[str, str]]:
    return [{"const": value, "title": f"{title} {kind}"} for value, title in values]


_ORDINALS = (("value1", "First"), ("value2", "Second"), ("value3", "Third"))
_OPTIONS = ["option1", "option2", "option3"]

_DEFAULTS: dict[str, Any] = {
    "name": {"type": "string", "default": "John Doe"},
    "age": {"type": "integer", "default": 30},
    "score": {"type": "number", "default": 95.5},
    "status": {"type": "string", "enum": ["active", "inactive", "pending"], "default": "active"},
    "verified": {"type": "boolean", "default": True},
}

_ENUMS: dict[str, Any] = {
    "untitledSingle": {"type": "string", "enum": _OPTIONS},
    "titledSingle": {"type": "string", "oneOf": _choices("Option", *_ORDINALS)},
    "legacyEnum": {
        "type": "string",
        "enum": ["opt1", "opt2", "opt3"],
        "enumNames": ["Option One", "Option Two", "Option Three"],
    },
    "untitledMulti": {"type": "array", "items": {"type": "string", "enum": _OPTIONS}},
    "titledMulti": {"type": "array", "items": {"anyOf": _choices("Choice", *_ORDINALS)}},
}

_USER: dict[str, Any] = {
    "username": {"type": "string", "description": "User's response"},
    "email": {"type": "string", "description": "User's email address"},
}

# Every keyword here is looked for in tools/list; a hop that rewrites schemas loses some.
_SCHEMA_2020_12: dict[str, Any] = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "type": "object",
    "$defs": {
        "address": {
            "$anchor": "addressDef",
            "type": "object",
            "properties": {"street": {"type": "string"}, "city": {"type": "string"}},
        }
    },
    "properties": {
        "name": {"type": "string"},
        "address": {"$ref": "#/$defs/address"},
        "contactMethod": {"type": "string", "enum": ["phone", "email"]},
        "phone": {"type": "string"},
        "email": {"type": "string"},
    },
    "allOf": [{"anyOf": [{"required": ["phone"]}, {"required": ["email"]}]}],
    "if": {
        "properties": {"contactMethod": {"const": "phone"}},
        "required": ["contactMethod"],
    },
    "then": {"required": ["phone"]},
    "else": {"required": ["email"]},
    "additionalProperties": False,
}


def tools(bus: SubscriptionBus) -> dict[str, FixtureTool]:
    """Return every tool by name, in the order of `tools/list`.

    The first one needs no argument: the suite calls whichever comes first with none.
    """
    words = {"type": "string"}
    entries: list[tuple[str, str, Run, dict[str, Any]]] = [
        *_content_tools(),
        ("test_tool_with_logging", "Three log messages", _log_three_times, _object()),
        ("test_logging_tool", "Logs only for who asked", _log_three_times, _object()),
        ("test_tool_with_progress", "Three progress reports", _report_progress, _object()),
        ("test_sampling", "Asks the client's model", _sample, _object(prompt=words)),
        (
            "test_elicitation",
            "Asks the user for name and address",
            _elicit("User response", "Who are you?", _USER, ["username", "email"]),
            _object(message=words),
        ),
        (
            "test_elicitation_sep1034_defaults",
            "Asks with a default in every field",
            _elicit("Elicitation completed", "Please review", _DEFAULTS, []),
            _object(),
        ),
        (
            "test_elicitation_sep1330_enums",
            "Asks with every kind of choice",
            _elicit("Elicitation completed", "Please choose", _ENUMS, []),
            _object(),
        ),
        (
            "test_reconnection",
            "Closes the stream and answers on the next",
            _close_stream_then_answer,
            _object(),
        ),
        (
            "test_missing_capability",
            "Refuses a client without sampling",
            _refuse_without_sampling,
            _object(),
        ),
        (
            "test_custom_header",
            "One argument travels in a header too",
            _echo,
            _object(region={"type": "string", "x-mcp-header": "Region"}),
        ),
        ("json_schema_2020_12_tool", "Tool with JSON Schema 2020-12", _echo, _SCHEMA_2020_12),
        (
            "test_trigger_tool_change",
            "Says that the tools changed",
            _publish(bus, ToolsListChanged()),
            _object(),
        ),
        (
            "test_trigger_prompt_change",
            "Says that the prompts changed",
            _publish(bus, PromptsListChanged()),
            _object(),
        ),
        *((name, told, run, _object()) for name, told, run in ROUND_TOOLS),
    ]
    return {entry[0]: FixtureTool(*entry) for entry in entries}


def _content_tools() -> list[tuple[str, str, Run, dict[str, Any]]]:
    note = embedded("test://embedded-resource", "This is an embedded resource content.")
    data = embedded(
        "test://mixed-content-resource", '{"test":"data","value":123}', "application/json"
    )
    greeting = text("This is a simple text response for testing.")
    mixed = text("Multiple content types test:")
    failure = text("This tool intentionally returns an error for testing")
    runs: list[tuple[str, str, Run]] = [
        ("test_simple_text", "A fixed text", _fixed(greeting)),
        ("test_image_content", "A one-pixel image", _fixed(_IMAGE)),
        ("test_audio_content", "A few samples of silence", _fixed(_AUDIO)),
        ("test_embedded_resource", "A text resource", _fixed(note)),
        ("test_multiple_content_types", "Text, image, resource", _fixed(mixed, _IMAGE, data)),
        ("test_error_handling", "Always fails", _fixed(failure, is_error=True)),
    ]
    return [(name, told, run, _object()) for name, told, run in runs]
