"""An MCP server that passes the conformance suite, so that a tunnel in front of it can be judged.

    python -m tests.helpers.fixture_server --port 0     # Streamable HTTP at /mcp, prints its URL
    python -m tests.helpers.fixture_server --stdio

It speaks both eras on one URL. Over HTTP the first line on standard output is the URL.
"""

import argparse
import logging
import socket
import warnings
from typing import Any

import anyio
import mcp_types as types
import uvicorn
from mcp.server import Server, ServerRequestContext
from mcp.server.request_state import RequestStateBoundary, RequestStateSecurity
from mcp.server.stdio import stdio_server
from mcp.server.subscriptions import InMemorySubscriptionBus, ListenHandler
from mcp.shared.exceptions import MCPDeprecationWarning, MCPError

from tests.helpers import fixture_content as content
from tests.helpers.fixture_events import RecentEvents, SessionScope
from tests.helpers.fixture_tools import tools

NAME = "conformance-fixture"
HOST = "127.0.0.1"
PATH = "/mcp"
RETRY_MILLISECONDS = 200


def build() -> Server[Any]:
    """Return the server with every tool, prompt and resource of the suite."""
    bus = InMemorySubscriptionBus()
    offered = tools(bus)

    async def list_tools(_: object, __: object) -> types.ListToolsResult:
        return types.ListToolsResult(tools=[tool.listed() for tool in offered.values()])

    async def call_tool(
        context: ServerRequestContext[Any, Any], params: types.CallToolRequestParams
    ) -> types.CallToolResult | types.InputRequiredResult:
        tool = offered.get(params.name)
        if tool is None:
            raise MCPError(types.INVALID_PARAMS, f"Unknown tool: {params.name}")
        return await tool.run(context, params)

    async def set_level(_: object, __: types.SetLevelRequestParams) -> types.EmptyResult:
        return types.EmptyResult()

    with warnings.catch_warnings():
        # Logging is deprecated since 2026-07-28, and legacy clients still use it.
        warnings.simplefilter("ignore", MCPDeprecationWarning)
        server = Server[Any](
            NAME,
            version="1",
            get_tool_input_schema=lambda name: offered[name].schema if name in offered else None,
            on_list_tools=list_tools,
            on_call_tool=call_tool,
            on_list_resources=content.list_resources,
            on_list_resource_templates=content.list_templates,
            on_read_resource=content.read_resource,
            on_subscribe_resource=content.accept_subscription,
            on_unsubscribe_resource=content.accept_subscription,
            on_list_prompts=content.list_prompts,
            on_get_prompt=content.get_prompt,
            on_completion=content.complete,
            on_set_logging_level=set_level,
            on_subscriptions_listen=ListenHandler(bus),
        )
    security = RequestStateSecurity.ephemeral()
    server.middleware.append(RequestStateBoundary(security, default_audience=NAME))
    return server


def serve_http(port: int) -> None:
    """Serve Streamable HTTP on loopback until a signal; port 0 takes a free one."""
    app = build().streamable_http_app(
        streamable_http_path=PATH,
        event_store=RecentEvents(),
        retry_interval=RETRY_MILLISECONDS,
        host=HOST,
    )
    app.add_middleware(SessionScope)
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((HOST, port))
        # Whoever reads the line may connect at once: the queue of the socket holds the call.
        listener.listen(128)
        print(f"http://{HOST}:{listener.getsockname()[1]}{PATH}", flush=True)  # noqa: T201
        # h11, because httptools leaves the white space after a header value in it (RFC 9110 5.5).
        config = uvicorn.Config(app, http="h11", log_level="warning", timeout_graceful_shutdown=1)
        uvicorn.Server(config).run(sockets=[listener])


async def serve_stdio() -> None:
    """Serve newline-delimited JSON-RPC on standard input and output until they end."""
    server = build()
    async with stdio_server() as (incoming, outgoing):
        await server.run(incoming, outgoing, server.create_initialization_options())


def main() -> None:
    """Serve as the command line says."""
    parser = argparse.ArgumentParser(description="MCP server for the conformance suite.")
    transport = parser.add_mutually_exclusive_group(required=True)
    transport.add_argument("--port", type=int, help="Streamable HTTP; 0 takes a free port")
    transport.add_argument("--stdio", action="store_true")
    options = parser.parse_args()
    warnings.simplefilter("ignore", MCPDeprecationWarning)
    # The suite sends wrong requests on purpose; a warning about each would only hide a real error.
    logging.basicConfig(level=logging.ERROR)
    if options.stdio:
        anyio.run(serve_stdio)
    else:
        serve_http(options.port)


if __name__ == "__main__":
    main()
