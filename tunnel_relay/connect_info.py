"""What to paste into an agent so that it uses a server through the relay; never with a token.

Formats as their makers document them in 2026. An agent that is given the URL alone asks its user to
log in; with `token` it takes one that an admin handed over from a variable, or asks for it.
"""

import base64
import json
import shlex
from collections.abc import Callable
from urllib.parse import quote

VARIABLE = "MCP_TUNNEL_TOKEN"
"""The environment variable from which examples take the session token."""

REGISTERS_ITSELF = (
    "It opens a browser to log in, and registers itself with the relay, which has to allow that:\n"
    "oauth.dynamic_registration = true"
)


def connect_info(kind: str, name: str, url: str, *, token: bool = False) -> str:
    """Return the text for one kind of agent; `kind` is a key of `KINDS`."""
    return KINDS[kind](name, url, token)


def _claude_code(name: str, url: str, token: bool) -> str:
    command = f"claude mcp add --transport http {shlex.quote(name)} {shlex.quote(url)}"
    if token:
        command += f' --header "Authorization: Bearer ${VARIABLE}"'
    server = _http(url, f"${{{VARIABLE}}}" if token else None)
    text = f"{command}\n\nor in .mcp.json:\n{_pretty({'mcpServers': {name: server}})}"
    return text if token else f"{text}\n\nThen /mcp in Claude Code, to log in."


def _cursor(name: str, url: str, token: bool) -> str:
    server: dict[str, object] = {"url": url}
    if token:
        server["headers"] = {"Authorization": f"Bearer ${{env:{VARIABLE}}}"}
    packed = base64.b64encode(json.dumps(server).encode()).decode()
    link = "cursor://anysphere.cursor-deeplink/mcp/install"
    return (
        f"{link}?name={quote(name, safe='')}&config={quote(packed, safe='')}\n\n"
        f"or in mcp.json:\n{_pretty({'mcpServers': {name: server}})}"
    )


def _vscode(name: str, url: str, token: bool) -> str:
    if token:
        asked = {
            "type": "promptString",
            "id": "mcp-tunnel-token",
            "description": "Session token of the relay",
            "password": True,
        }
        server = _http(url, "${input:mcp-tunnel-token}")
        return f"in .vscode/mcp.json:\n{_pretty({'inputs': [asked], 'servers': {name: server}})}"
    server = _http(url, None)
    one = json.dumps({"name": name, **server}, separators=(",", ":"))
    return (
        f"code --add-mcp {shlex.quote(one)}\n\n"
        f"or open: vscode:mcp/install?{quote(one, safe='')}\n\n"
        f"or in .vscode/mcp.json:\n{_pretty({'servers': {name: server}})}"
    )


def _desktop(name: str, url: str, token: bool) -> str:
    text = (
        f"Settings -> Connectors -> Add custom connector\n  name: {name}\n  URL:  {url}\n"
        "The vendor's cloud makes the calls, so the relay must be reachable from the internet.\n"
        "claude_desktop_config.json does not take servers behind a URL."
    )
    return f"{text}\nA connector logs its user in; it takes no token." if token else text


def _stdio(name: str, url: str, token: bool) -> str:
    server = {"command": "tunnel-client", "args": ["connect", url]}
    text = _pretty({"mcpServers": {name: server}})
    intro = "For agents that only start programs; tunnel-client must be installed."
    if token:
        how = (
            f"It takes the token from {VARIABLE}, or from a file that only its user can read:\n"
            'add "--token-file", "FILE" to args.'
        )
    else:
        how = (
            f"It opens a browser to log in, once; beforehand: {_shell('--login', url)}\n"
            "Where agents may not register themselves, make it an id on the relay, and add\n"
            '"--agent-id", "ID" to args:\n'
            "  tunnel-relay agent add ID --redirect-uri http://127.0.0.1/callback"
        )
    return f"{text}\n\n{intro}\n{how}"


def _shell(option: str, url: str) -> str:
    return f"tunnel-client connect {option} {shlex.quote(url)}"


def _inspector(name: str, url: str, token: bool) -> str:
    command = "npx @modelcontextprotocol/inspector --cli --transport http"
    command += f" --server-url {shlex.quote(url)}"
    if token:
        command += f' --header "Authorization: Bearer ${VARIABLE}"'
    text = f"{command} --method tools/list"
    return text if token else f"{text}\n\n{REGISTERS_ITSELF}"


def _json(name: str, url: str, token: bool) -> str:
    return _pretty({"mcpServers": {name: _http(url, f"${{{VARIABLE}}}" if token else None)}})


KINDS: dict[str, Callable[[str, str, bool], str]] = {
    "claude-code": _claude_code,
    "cursor": _cursor,
    "vscode": _vscode,
    "desktop": _desktop,
    "stdio": _stdio,
    "inspector": _inspector,
    "json": _json,
}


def _http(url: str, token: str | None) -> dict[str, object]:
    server: dict[str, object] = {"type": "http", "url": url}
    if token is not None:
        server["headers"] = {"Authorization": f"Bearer {token}"}
    return server


def _pretty(value: object) -> str:
    return json.dumps(value, indent=2)
