"""A stdio MCP server in plain Python that misbehaves on request; it starts in some milliseconds.

    python -S stdio_server.py [OPTION...]

It knows both eras and locks itself to neither, so that one process serves any test. Options:
`legacy` answers `server/discover` with -32601, `legacy-exit` ends at it, `mute` leaves it
unanswered, `hushed` does so with `initialize`, `crash` ends at once, `deaf` ignores
SIGTERM and a closed stdin, `old` serves only legacy versions in its DiscoverResult.
Tools: see `TOOLS`.
"""

import itertools
import json
import os
import signal
import subprocess
import sys
import threading
import time
from typing import Any

MODERN = "2026-07-28"
SUBSCRIPTION = "io.modelcontextprotocol/subscriptionId"
OPTIONS = set(sys.argv[1:])
Message = dict[str, Any]

waiting: dict[Any, Message] = {}
seen: list[Message] = []
answers: list[Message] = []


def send(message: Message) -> None:
    """Write one message."""
    raw({"jsonrpc": "2.0", **message})


def raw(message: object) -> None:
    text = message if isinstance(message, str) else json.dumps(message)
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def text(identity: Any, value: object) -> None:
    """Answer a call with a text."""
    content = [{"type": "text", "text": value if isinstance(value, str) else json.dumps(value)}]
    send({"id": identity, "result": {"resultType": "complete", "content": content}})


def echo(identity: Any, arguments: Message, params: Message) -> None:
    text(identity, arguments)


def facts(identity: Any, arguments: Message, params: Message) -> None:
    text(identity, {"pid": os.getpid(), "argv": sys.argv[1:], "env": dict(os.environ)})


def seen_so_far(identity: Any, arguments: Message, params: Message) -> None:
    text(identity, {"seen": seen, "answers": answers})


def hold(identity: Any, arguments: Message, params: Message) -> None:
    """Answer only when `release` is called with the same key; with `say`, begin to at once."""
    waiting[arguments["key"]] = {"id": identity}
    if "say" in arguments:
        told = {"progressToken": params["_meta"]["progressToken"], "message": arguments["say"]}
        send({"method": "notifications/progress", "params": {**told, "progress": 1}})


def release(identity: Any, arguments: Message, params: Message) -> None:
    text(waiting.pop(arguments["key"])["id"], arguments["key"])
    text(identity, "released")


def progress(identity: Any, arguments: Message, params: Message) -> None:
    token = params["_meta"]["progressToken"]
    for step in range(arguments["steps"]):
        padding = "x" * arguments.get("padding", 0)
        told = {"progressToken": token, "progress": step, "message": padding}
        send({"method": "notifications/progress", "params": told})
    text(identity, {"token": token, "id": identity})


def logging(identity: Any, arguments: Message, params: Message) -> None:
    told = {"level": "info", "data": arguments["say"]}
    send({"method": "notifications/message", "params": told})
    if not arguments.get("hold"):
        text(identity, "logged")


def crash(identity: Any, arguments: Message, params: Message) -> None:
    os._exit(3)


def noise(identity: Any, arguments: Message, params: Message) -> None:
    raw("Server started on stdio!")
    raw("[1, 2]")
    raw('{"jsonrpc": "2.0", "id": "nobody", "result": {}}')
    raw('{"jsonrpc": "2.0", "method": ["notifications/message"]}')
    raw("{broken")
    text(identity, "after the noise")


def long(identity: Any, arguments: Message, params: Message) -> None:
    text(identity, "x" * arguments["size"])


def complain(identity: Any, arguments: Message, params: Message) -> None:
    """Write to stderr, and answer after that."""
    for number in range(arguments["lines"]):
        sys.stderr.write(f"{arguments['say']} {number}\n")
    sys.stderr.flush()
    text(identity, "complained")


def ask(identity: Any, arguments: Message, params: Message) -> None:
    """Send a request of our own, `count` times, and answer at once."""
    for number in range(arguments.get("count", 1)):
        send({"id": f"ask-{number}", "method": "roots/list"})
    text(identity, "asked")


def announce(identity: Any, arguments: Message, params: Message) -> None:
    send({"method": "notifications/tools/list_changed"})
    text(identity, "announced")


def later(identity: Any, arguments: Message, params: Message) -> None:
    """Answer, then send `count` requests when no call is open any more."""

    def ask_later() -> None:
        for number in range(arguments.get("count", 1)):
            send({"id": f"later-{number}", "method": "roots/list"})

    text(identity, "soon")
    threading.Timer(0.05, ask_later).start()


def flood(identity: Any, arguments: Message, params: Message) -> None:
    """Answer, then send requests with long ids for ever, and read nothing any more."""
    text(identity, "soon")
    for number in itertools.count():
        send({"id": f"{number}-{'x' * arguments['size']}", "method": "roots/list"})


def doze(identity: Any, arguments: Message, params: Message) -> None:
    """Answer, and read nothing any more."""
    text(identity, "good night")
    time.sleep(600)


def spawn(identity: Any, arguments: Message, params: Message) -> None:
    """Leave a process behind: in our group, or in a session of its own."""
    child = subprocess.Popen(
        [sys.executable, "-S", "-c", "import time; time.sleep(600)"],
        start_new_session=arguments["detached"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    text(identity, child.pid)


def shut(identity: Any, arguments: Message, params: Message) -> None:
    """Close the output and live on."""
    os.close(1)
    time.sleep(600)


TOOLS = {
    tool.__name__: tool
    for tool in (
        *(echo, facts, seen_so_far, hold, release, progress, logging, crash, noise, long),
        *(complain, ask, announce, later, flood, doze, spawn, shut),
    )
}
HEADER_SCHEMA = {
    "type": "object",
    "properties": {"region": {"type": "string", "x-mcp-header": "Region"}},
}


def listed() -> list[Message]:
    plain: Message = {"type": "object"}
    return [
        {"name": name, "inputSchema": HEADER_SCHEMA if name == "echo" else plain} for name in TOOLS
    ]


def discover(identity: Any) -> None:
    if "mute" in OPTIONS:
        return
    if "legacy-exit" in OPTIONS:
        os._exit(1)
    if "legacy" in OPTIONS:
        unknown(identity, "server/discover")
        return
    versions = ["2025-11-25"] if "old" in OPTIONS else [MODERN]
    result: Message = {
        "resultType": "complete",
        "supportedVersions": versions,
        "capabilities": {},
    }
    send({"id": identity, "result": result})


def initialize(identity: Any, params: Message) -> None:
    if "hushed" in OPTIONS:
        return
    if params.get("protocolVersion") == "1999-01-01":
        send({"id": identity, "error": {"code": -32602, "message": "unsupported"}})
        return
    result: Message = {
        "protocolVersion": params.get("protocolVersion"),
        "capabilities": {"tools": {}},
        "serverInfo": {"name": "raw", "version": "1"},
    }
    send({"id": identity, "result": result})


def listen(identity: Any, params: Message) -> None:
    meta = {SUBSCRIPTION: identity}
    send(
        {
            "method": "notifications/subscriptions/acknowledged",
            "params": {"notifications": params.get("notifications", {}), "_meta": meta},
        }
    )
    waiting["listen"] = {"id": identity}


def notify(identity: Any, arguments: Message, params: Message) -> None:
    """Say something to the last listener; with `end` in one of the two ways there are."""
    subscription = waiting["listen"]["id"]
    meta = {SUBSCRIPTION: subscription}
    send({"method": "notifications/tools/list_changed", "params": {"_meta": meta}})
    if arguments.get("end") == "result":
        send({"id": subscription, "result": {"resultType": "complete", "_meta": meta}})
    elif arguments.get("end") == "cancelled":
        send({"method": "notifications/cancelled", "params": {"requestId": subscription}})
    text(identity, "notified")


TOOLS["notify"] = notify


def unknown(identity: Any, method: str) -> None:
    send({"id": identity, "error": {"code": -32601, "message": f"Method not found: {method}"}})


def handle(message: Message) -> None:
    """Answer one message."""
    method, identity, params = message.get("method"), message.get("id"), message.get("params", {})
    if method is None:
        answers.append(message)
        if "ANSWERS" in os.environ:
            with open(os.environ["ANSWERS"], "a") as file:  # noqa: PTH123 - pathlib costs 20 ms
                file.write(f"{message['id']}\n")
    elif identity is None:
        seen.append(message)
    elif method == "server/discover":
        discover(identity)
    elif method == "initialize":
        initialize(identity, params)
    elif method == "subscriptions/listen":
        listen(identity, params)
    elif method == "tools/list":
        send({"id": identity, "result": {"tools": listed(), "ttlMs": 0, "cacheScope": "private"}})
    elif method == "tools/call" and params.get("name") in TOOLS:
        TOOLS[params["name"]](identity, params.get("arguments", {}), params)
    else:
        unknown(identity, method)


def main() -> None:
    """Serve until stdin ends, or for ever when deaf."""
    if "crash" in OPTIONS:
        sys.exit("cannot start: no configuration")
    if "deaf" in OPTIONS:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    for line in sys.stdin:
        handle(json.loads(line))
    while "deaf" in OPTIONS:
        time.sleep(600)


if __name__ == "__main__":
    main()
