"""What to paste into an agent so that it uses a server through the relay; never with a token.

Formats as their makers document them in 2026; the token is asked for or comes from a variable.
"""

import base64
import json
import shlex
from collections.abc import Callable
from urllib.parse import quote

VARIABLE = "MCP_TUNNEL_TOKEN"
"""The environment variable from which examples take the session token."""


def connect_info(kind: str, name: str, url: str) -> str:
    """Return the text for one kind of agent; `kind` is a key of `KINDS`."""
    return KINDS[kind](name, url)


def _claude_code(name: str, url: str) -> str:
    header = f"Authorization: Bearer ${VARIABLE}"
    return (
        f"claude mcp add --transport http {shlex.quote(name)} {shlex.quote(url)} "
        f'--header "{header}"\n\n'
        f"or in .mcp.json:\n{_pretty({'mcpServers': {name: _http(url, f'${{{VARIABLE}}}')}})}"
    )


def _cursor(name: str, url: str) -> str:
    server = {"url": url, "headers": {"Authorization": f"Bearer ${{env:{VARIABLE}}}"}}
    packed = base64.b64encode(json.dumps(server).encode()).decode()
    link = "cursor://anysphere.cursor-deeplink/mcp/install"
    return (
        f"{link}?name={quote(name, safe='')}&config={quote(packed, safe='')}\n\n"
        f"or in mcp.json:\n{_pretty({'mcpServers': {name: server}})}"
    )


def _vscode(name: str, url: str) -> str:
    asked = {
        "type": "promptString",
        "id": "mcp-tunnel-token",
        "description": "Session token of the relay",
        "password": True,
    }
    server = _http(url, "${input:mcp-tunnel-token}")
    return f"in .vscode/mcp.json:\n{_pretty({'inputs': [asked], 'servers': {name: server}})}"


def _desktop(name: str, url: str) -> str:
    return (
        f"Settings -> Connectors -> Add custom connector\n  name: {name}\n  URL:  {url}\n"
        "The vendor's cloud makes the calls, so the relay must be reachable from the internet."
    )


def _json(name: str, url: str) -> str:
    return _pretty({"mcpServers": {name: _http(url, f"${{{VARIABLE}}}")}})


KINDS: dict[str, Callable[[str, str], str]] = {
    "claude-code": _claude_code,
    "cursor": _cursor,
    "vscode": _vscode,
    "desktop": _desktop,
    "json": _json,
}


def _http(url: str, token: str) -> dict[str, object]:
    return {"type": "http", "url": url, "headers": {"Authorization": f"Bearer {token}"}}


def _pretty(value: object) -> str:
    return json.dumps(value, indent=2)
