import json
import sys

import pytest
from pydantic import SecretStr

from tests.helpers.upstream_peer import SERVER, upstream_of
from tunnel_client.upstream.stdio import StdioUpstream
from tunnel_client.upstream.stdio_command import StdioCommand
from tunnel_client.upstream.stdio_strays import MARK

NASTY = ("; touch pwned", "$(id)", "`id`", "a\nb", "&", "| sh", "*", "'\"", "")


@pytest.mark.parametrize("argv", [(), ("server",), ("./server",), ("bin/server", "x"), ("",)])
def test_the_program_is_an_absolute_path(argv: tuple[str, ...]) -> None:
    with pytest.raises(ValueError, match="absolute"):
        StdioCommand(argv)


def test_an_argument_with_a_nul_is_refused() -> None:
    with pytest.raises(ValueError, match="NUL"):
        StdioCommand(("/bin/true", "a\0b"))


async def test_arguments_reach_the_program_as_they_are() -> None:
    """L02: no shell reads them."""
    async with upstream_of(*NASTY) as peer:
        reply = await peer.modern_call("facts").done()
        assert json.loads(reply.text)["argv"] == list(NASTY)


async def test_a_child_sees_allowed_variables_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """L03."""
    monkeypatch.setenv("TUNNEL_CLIENT_SECRET", "relay key")
    monkeypatch.setenv("LANG", "C.UTF-8")
    monkeypatch.setenv("NAMED", "yes")
    command = StdioCommand(
        (sys.executable, "-S", str(SERVER)),
        inherit=("NAMED", "NOT_SET"),
        env={"TOKEN": SecretStr("canary")},
    )
    seen = command.environment({"PATH": "/bin", "NAMED": "yes", "OTHER": "no"})
    assert seen == {"PATH": "/bin", "NAMED": "yes", "TOKEN": "canary"}
    async with upstream_of(env={"TOKEN": "canary"}) as peer:
        reply = await peer.modern_call("facts").done()
        # LC_CTYPE is what Python sets for itself when it starts in the C locale.
        names = set(json.loads(reply.text)["env"]) - {"LC_CTYPE"}
        assert names == {"PATH", "HOME", "LANG", "TOKEN", MARK}


def test_a_secret_shows_in_no_representation() -> None:
    command = StdioCommand(("/bin/true",), env={"TOKEN": SecretStr("canary-value")})
    assert "canary" not in repr(command)
    assert "canary" not in repr(StdioUpstream("x", command).__dict__)
    assert command.secrets() == ["canary-value"]
