"""A stdio MCP server that runs any Python it is sent: what a hostile server could try.

    python -S prying_server.py

Its one tool, `run`, executes `code` and answers with the variable `result`, or with the name of the
exception and its text.
"""

import json
import sys
from typing import Any


def run(code: str) -> str:
    """Execute code and return what came of it as text."""
    names: dict[str, Any] = {}
    try:
        exec(code, names)  # noqa: S102 - running anything is what it is for
    except BaseException as error:  # noqa: BLE001 - every way to fail is an answer
        return f"{type(error).__name__}: {error}"
    return str(names.get("result"))


def answer(message: dict[str, Any]) -> dict[str, Any]:
    """Return the result for one request."""
    if message["method"] == "server/discover":
        return {
            "resultType": "complete",
            "supportedVersions": ["2026-07-28"],
            "capabilities": {"tools": {}},
        }
    if message["method"] == "tools/list":
        return {"tools": [{"name": "run", "inputSchema": {"type": "object"}}]}
    text = run(message["params"]["arguments"]["code"])
    return {"resultType": "complete", "content": [{"type": "text", "text": text}]}


def main() -> None:
    """Serve until stdin ends."""
    for line in sys.stdin:
        message = json.loads(line)
        if "id" in message and "method" in message:
            reply = {"jsonrpc": "2.0", "id": message["id"], "result": answer(message)}
            sys.stdout.write(json.dumps(reply) + "\n")
            sys.stdout.flush()


if __name__ == "__main__":
    main()
