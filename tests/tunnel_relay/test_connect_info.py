"""What is pasted into agents."""

import base64
import json
import shlex
from urllib.parse import parse_qs, urlsplit

import pytest

from tunnel_relay.connect_info import KINDS, VARIABLE, connect_info

URL = "https://relay.example.com/t/office/git/mcp"


def snippet(text: str) -> dict[str, object]:
    return dict(json.loads(text[text.index("{\n") :]))


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_names_the_url_and_no_token(kind: str) -> None:
    text = connect_info(kind, "office-git", URL)
    assert URL in text
    assert "mts_" not in text


def test_claude_code_gets_a_command_for_the_shell() -> None:
    command = connect_info("claude-code", "office-git", URL).splitlines()[0]
    assert shlex.split(command) == [
        *("claude", "mcp", "add", "--transport", "http", "office-git", URL),
        *("--header", f"Authorization: Bearer ${VARIABLE}"),
    ]


def test_cursor_gets_a_link_that_holds_the_same_as_its_file() -> None:
    text = connect_info("cursor", "office-git", URL)
    query = parse_qs(urlsplit(text.splitlines()[0]).query)
    assert query["name"] == ["office-git"]
    packed = json.loads(base64.b64decode(query["config"][0]))
    assert snippet(text) == {"mcpServers": {"office-git": packed}}


def test_vscode_asks_for_the_token() -> None:
    found = snippet(connect_info("vscode", "office-git", URL))
    assert set(found) == {"inputs", "servers"}


def test_json_is_only_json() -> None:
    found = json.loads(connect_info("json", "office-git", URL))
    assert found["mcpServers"]["office-git"]["url"] == URL
