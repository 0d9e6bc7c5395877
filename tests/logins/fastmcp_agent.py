"""fastmcp's client that logs its user in; runs in an environment of its own.

python -m tests.logins.fastmcp_agent URL
"""

import asyncio
import json
import sys

from fastmcp import Client
from fastmcp.client.auth import OAuth

TOOL = "test_simple_text"


async def main(url: str) -> None:
    """Log in, list, call; prints what came."""
    async with Client(url, auth=OAuth(client_name="fastmcp")) as client:
        tools = [str(tool.name) for tool in await client.list_tools()]
        answer = await client.call_tool(TOOL, {}, raise_on_error=False)
        told = {"tools": tools, "failed": bool(answer.is_error)}
    sys.stdout.write(json.dumps(told) + "\n")


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
