"""What is pasted into agents."""

import base64
import json
import shlex
from urllib.parse import parse_qs, unquote, urlsplit

import pytest

from tunnel_relay.cli import AGENTS
from tunnel_relay.connect_info import KINDS, VARIABLE, connect_info

URL = "https://relay.example.com/t/office/git/mcp"


def snippet(text: str) -> dict[str, object]:
    return dict(json.loads(text[text.index("{\n") :]))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("token", [True, False])
def test_every_kind_names_the_url_and_no_token(kind: str, token: bool) -> None:
    text = connect_info(kind, "office-git", URL, token=token)
    assert URL in text
    assert "mts_" not in text
    assert ("Bearer" in text) is (token and kind not in ("desktop", "stdio"))


def test_claude_code_gets_a_command_for_the_shell() -> None:
    plain = ["claude", "mcp", "add", "--transport", "http", "office-git", URL]
    command = connect_info("claude-code", "office-git", URL).splitlines()[0]
    assert shlex.split(command) == plain
    command = connect_info("claude-code", "office-git", URL, token=True).splitlines()[0]
    assert shlex.split(command) == [*plain, "--header", f"Authorization: Bearer ${VARIABLE}"]


@pytest.mark.parametrize("token", [True, False])
def test_cursor_gets_a_link_that_holds_the_same_as_its_file(token: bool) -> None:
    text = connect_info("cursor", "office-git", URL, token=token)
    query = parse_qs(urlsplit(text.splitlines()[0]).query)
    assert query["name"] == ["office-git"]
    packed = json.loads(base64.b64decode(query["config"][0]))
    assert snippet(text) == {"mcpServers": {"office-git": packed}}


def test_vscode_asks_for_the_token_or_logs_in() -> None:
    found = snippet(connect_info("vscode", "office-git", URL, token=True))
    assert set(found) == {"inputs", "servers"}
    text = connect_info("vscode", "office-git", URL)
    assert set(snippet(text[text.index("or in") :])) == {"servers"}
    one = json.loads(shlex.split(text.splitlines()[0])[2])
    link = text.splitlines()[2].partition("?")[2]
    assert json.loads(unquote(link)) == one == {"name": "office-git", "type": "http", "url": URL}


def test_an_agent_that_only_starts_programs_gets_our_bridge() -> None:
    text = connect_info("stdio", "office-git", URL)
    found = json.loads(text[: text.rindex("}\n\n") + 1])
    assert found["mcpServers"]["office-git"] == {
        "command": "tunnel-client",
        "args": ["connect", URL],
    }
    assert VARIABLE in connect_info("stdio", "office-git", URL, token=True)


def test_the_inspector_gets_a_command_for_the_shell() -> None:
    plain = ["npx", "@modelcontextprotocol/inspector", "--cli", "--transport", "http"]
    plain += ["--server-url", URL]
    text = connect_info("inspector", "office-git", URL)
    assert shlex.split(text.splitlines()[0]) == [*plain, "--method", "tools/list"]
    assert "oauth.dynamic_registration" in text
    command = connect_info("inspector", "office-git", URL, token=True)
    shown = ["--header", f"Authorization: Bearer ${VARIABLE}"]
    assert shlex.split(command) == [*plain, *shown, "--method", "tools/list"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("token", [True, False])
def test_a_hostile_name_stays_one_word_of_every_command_and_link(kind: str, token: bool) -> None:
    """U18: whatever a name is, it is quoted where it is pasted."""
    name, url = "x\"; $(calc) `calc` '&calc", URL + "?a=';calc"
    text = connect_info(kind, name, url, token=token)
    first = text.splitlines()[0]
    if kind == "claude-code":
        assert shlex.split(first)[5:7] == [name, url]
    elif kind == "inspector":
        assert shlex.split(first)[6] == url
    elif kind == "cursor":
        assert parse_qs(urlsplit(first).query)["name"] == [name]
        assert not set(first) & set("\"'`$ ;()")
    elif kind == "vscode" and not token:
        assert json.loads(shlex.split(first)[2]) == {"name": name, "type": "http", "url": url}
        assert not set(text.splitlines()[2].partition("?")[2]) & set("\"'`$ ;()&")
    elif kind == "stdio":
        assert json.loads(text[: text.rindex("}\n\n") + 1])["mcpServers"][name]["args"][1] == url


def test_the_command_offers_every_kind() -> None:
    assert set(AGENTS) == set(KINDS)


def test_json_is_only_json() -> None:
    found = json.loads(connect_info("json", "office-git", URL))
    assert found["mcpServers"]["office-git"]["url"] == URL
