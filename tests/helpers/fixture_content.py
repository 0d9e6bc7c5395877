"""Fixed content, resources, prompts and completions of the conformance fixture server.

The names, addresses and texts are the ones that the MCP conformance suite asks for; its scenario
sources say what each must answer.
"""

import base64
import json
import struct
import zlib
from typing import Any

import mcp_types as types
from mcp.server import ServerRequestContext
from mcp.shared.exceptions import MCPError

from tests.helpers.fixture_input import accepted, ask, form

Context = ServerRequestContext[Any, Any]

TEXT_URI = "test://static-text"
BINARY_URI = "test://static-binary"
WATCHED_URI = "test://watched-resource"
TEMPLATE = "test://template/{id}/data"
COMPLETIONS = ("test-one", "test-two", "paris", "park", "party")


def _chunk(kind: bytes, data: bytes) -> bytes:
    checksum = zlib.crc32(kind + data)
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", checksum)


def _red_dot_png() -> bytes:
    header = struct.pack(">IIBBBBB", 1, 1, 8, 2, 0, 0, 0)
    pixels = zlib.compress(b"\x00\xff\x00\x00")
    parts = (_chunk(b"IHDR", header), _chunk(b"IDAT", pixels), _chunk(b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def _silent_wav() -> bytes:
    samples = bytes(16)
    layout = struct.pack("<IHHIIHH", 16, 1, 1, 8000, 8000, 1, 8)
    body = b"WAVEfmt " + layout + b"data" + struct.pack("<I", len(samples)) + samples
    return b"RIFF" + struct.pack("<I", len(body)) + body


PNG = base64.b64encode(_red_dot_png()).decode("ascii")
WAV = base64.b64encode(_silent_wav()).decode("ascii")


def embedded(uri: str, text: str, mime_type: str = "text/plain") -> types.EmbeddedResource:
    """Return a text resource as a content block."""
    resource = types.TextResourceContents(uri=uri, mime_type=mime_type, text=text)
    return types.EmbeddedResource(type="resource", resource=resource)


async def list_resources(_: Context, __: object) -> types.ListResourcesResult:
    """Answer `resources/list`."""
    listed = [
        (TEXT_URI, "static-text", "A fixed text", "text/plain"),
        (BINARY_URI, "static-binary", "A fixed one-pixel image", "image/png"),
        (WATCHED_URI, "watched-resource", "A text one can subscribe to", "text/plain"),
    ]
    return types.ListResourcesResult(
        resources=[
            types.Resource(uri=uri, name=name, description=description, mime_type=mime_type)
            for uri, name, description, mime_type in listed
        ]
    )


async def list_templates(_: Context, __: object) -> types.ListResourceTemplatesResult:
    """Answer `resources/templates/list`."""
    template = types.ResourceTemplate(
        uri_template=TEMPLATE,
        name="template-data",
        description="Data made from the id in the address",
        mime_type="application/json",
    )
    return types.ListResourceTemplatesResult(resource_templates=[template])


async def read_resource(
    _: Context, params: types.ReadResourceRequestParams
) -> types.ReadResourceResult:
    """Answer `resources/read`; `MCPError` -32602 with the address for one that does not exist."""
    contents = _read(str(params.uri))
    if contents is None:
        raise MCPError(types.INVALID_PARAMS, "Resource not found", {"uri": str(params.uri)})
    return types.ReadResourceResult(contents=[contents])


def _read(uri: str) -> types.TextResourceContents | types.BlobResourceContents | None:
    if uri == BINARY_URI:
        return types.BlobResourceContents(uri=uri, mime_type="image/png", blob=PNG)
    texts = {
        TEXT_URI: "This is the content of the static text resource.",
        WATCHED_URI: "This is the content of the watched resource.",
    }
    if uri in texts:
        return types.TextResourceContents(uri=uri, mime_type="text/plain", text=texts[uri])
    before, after = TEMPLATE.split("{id}")
    if uri.startswith(before) and uri.endswith(after):
        id_ = uri[len(before) : -len(after)]
        if id_ and "/" not in id_:
            told = {"id": id_, "templateTest": True, "data": f"Data for ID: {id_}"}
            text = json.dumps(told, separators=(",", ":"))
            return types.TextResourceContents(uri=uri, mime_type="application/json", text=text)
    return None


async def accept_subscription(
    _: Context, __: types.SubscribeRequestParams | types.UnsubscribeRequestParams
) -> types.EmptyResult:
    """Answer `resources/subscribe` and `resources/unsubscribe`: the content never changes."""
    return types.EmptyResult()


async def complete(_: Context, params: types.CompleteRequestParams) -> types.CompleteResult:
    """Answer `completion/complete` with the words that begin like what was typed."""
    values = [word for word in COMPLETIONS if word.startswith(params.argument.value)]
    completion = types.Completion(values=values, total=len(values), has_more=False)
    return types.CompleteResult(completion=completion)


def _prompt(name: str, description: str, **arguments: str) -> types.Prompt:
    listed = [
        types.PromptArgument(name=key, description=text, required=True)
        for key, text in arguments.items()
    ]
    return types.Prompt(name=name, description=description, arguments=listed or None)


PROMPTS = (
    _prompt("test_simple_prompt", "One fixed sentence"),
    _prompt("test_prompt_with_arguments", "A sentence with two arguments", arg1="one", arg2="two"),
    _prompt(
        "test_prompt_with_embedded_resource",
        "A sentence about an embedded resource",
        resourceUri="Address that the embedded resource carries",
    ),
    _prompt("test_prompt_with_image", "A sentence about an image"),
    _prompt("test_input_required_result_prompt", "A sentence that needs the user's answer"),
)


async def list_prompts(_: Context, __: object) -> types.ListPromptsResult:
    """Answer `prompts/list`."""
    return types.ListPromptsResult(prompts=list(PROMPTS))


async def get_prompt(
    context: Context, params: types.GetPromptRequestParams
) -> types.GetPromptResult | types.InputRequiredResult:
    """Answer `prompts/get`; `MCPError` -32602 for an unknown name or a missing argument."""
    if params.name == "test_input_required_result_prompt":
        return _prompt_that_asks(context, params)
    try:
        blocks = _prompt_blocks(params.name, params.arguments or {})
    except KeyError as missing:
        raise MCPError(types.INVALID_PARAMS, f"Unknown prompt or missing {missing}") from None
    return _messages(*blocks)


def _prompt_blocks(name: str, given: dict[str, str]) -> list[types.ContentBlock]:
    match name:
        case "test_simple_prompt":
            return [_text("This is a simple prompt for testing.")]
        case "test_prompt_with_arguments":
            told = f"arg1='{given['arg1']}', arg2='{given['arg2']}'"
            return [_text(f"Prompt with arguments: {told}")]
        case "test_prompt_with_embedded_resource":
            resource = embedded(given["resourceUri"], "Embedded resource content for testing.")
            return [resource, _text("Please process the embedded resource above.")]
        case "test_prompt_with_image":
            image = types.ImageContent(type="image", data=PNG, mime_type="image/png")
            return [image, _text("Please analyze the image above.")]
        case _:
            raise KeyError(name)


def _prompt_that_asks(
    context: Context, params: types.GetPromptRequestParams
) -> types.GetPromptResult | types.InputRequiredResult:
    answer = accepted(params, "user_context", "context")
    if answer is None:
        question = form("What context should the prompt use?", {"context": {"type": "string"}})
        return ask(context, {"user_context": question})
    return _messages(_text(f"Use this context: {answer}"))


def _text(text: str) -> types.TextContent:
    return types.TextContent(type="text", text=text)


def _messages(*blocks: types.ContentBlock) -> types.GetPromptResult:
    return types.GetPromptResult(
        messages=[types.PromptMessage(role="user", content=block) for block in blocks]
    )
