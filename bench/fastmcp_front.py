"""FastMCP's proxy before an MCP server: `fastmcp_front.py PORT UPSTREAM_URL`.

Runs in an environment of its own that holds FastMCP, so it imports nothing of ours.
"""

import sys

from fastmcp.server import create_proxy


def main() -> None:
    port, upstream = sys.argv[1:]
    create_proxy(upstream, name="bench").run(
        transport="http",
        host="127.0.0.1",
        port=int(port),
        path="/mcp",
        json_response=True,
        stateless_http=True,
        log_level="error",
        show_banner=False,
    )


if __name__ == "__main__":
    main()
