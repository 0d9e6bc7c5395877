"""`upstream add --credential` writes where a secret is, and refuses the secret itself."""

import asyncio
import os
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from shared.keys import PrivateKey, encode_public
from tests.tunnel_client.test_cli import call
from tunnel_client.cli import cli
from tunnel_client.settings import load_settings


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "client.toml"
    path.touch(mode=0o600)
    key = encode_public(PrivateKey.generate().public)
    relay = f'[relay]\nurl = "wss://r.example"\ntunnel = "t"\npublic_key = "{key}"\n'
    path.write_text(f'state_dir = "state"\n{relay}')
    return path


def add(config: Path, *words: str) -> Result:
    return CliRunner().invoke(cli, ["upstream", "add", "crm", "--config", str(config), *words])


def test_the_place_is_written_with_the_origin_of_the_url(config: Path) -> None:
    words = ["--url", "https://CRM.internal/mcp", "--credential", "api_key"]
    words += ["--credential-set", "name=X-Key", "--credential-set", "value=file:/etc/crm.key"]
    done = add(config, *words)
    assert done.exit_code == 0, done.output
    (upstream,) = load_settings(config, os.environ).upstream
    assert upstream.credential is not None
    assert upstream.credential.kind == "api_key"
    assert upstream.credential.origin == "https://crm.internal:443"
    assert str(upstream.credential.value) == "file:/etc/crm.key"


def test_a_secret_in_place_of_its_place_is_refused_and_not_repeated(config: Path) -> None:
    before = config.read_text()
    words = ["--url", "https://crm/mcp", "--credential", "bearer"]
    done = add(config, *words, "--credential-set", "value=hunter2-hunter2-hunter2")
    assert done.exit_code == 78
    assert "never the secret itself" in done.output
    assert "hunter2" not in done.output
    assert config.read_text() == before


def test_with_a_credential_for_each_user_it_is_said_whose_lists_the_tools(config: Path) -> None:
    words = ["--url", "http://127.0.0.1:1/mcp", "--credential", "bearer"]
    words += ["--credential-set", "value=file:/etc/creds/{user}.token"]
    before = config.read_text()
    done = add(config, *words)
    assert done.exit_code == 2
    assert "--credential-set lists_as=" in done.output
    assert config.read_text() == before
    done = add(config, *words, "--credential-set", "lists_as=ada")
    assert done.exit_code == 0, done.output
    (upstream,) = load_settings(config, os.environ).upstream
    assert upstream.credential is not None
    assert upstream.credential.lists_as == "ada"


def test_who_signs_assertions_is_not_asked_where_a_token_lies(config: Path) -> None:
    words = ["--url", "http://127.0.0.1:1/mcp", "--credential", "token_exchange"]
    given = ["token_url=https://login/t", "client_id=x", "client_secret=env:S"]
    given += ["assertion_key=/etc/creds/key.pem", "assertion_issuer=tunnel"]
    for pair in given:
        words += ["--credential-set", pair]
    done = add(config, *words)
    assert (done.exit_code, "--credential-set lists_as=" in done.output) == (2, True)
    done = add(config, *words, "--credential-set", "lists_as=ada")
    assert done.exit_code == 0, done.output


async def test_what_keeps_tools_from_being_listed_is_said_where_they_are_added(
    config: Path,
) -> None:
    words = ["--url", "http://127.0.0.1:1/mcp", "--credential", "bearer", "--yes"]
    words += ["--credential-set", f"value=file:{config.parent}/{{user}}.token"]
    done = await asyncio.to_thread(add, config, *words, "--credential-set", "lists_as=ada")
    assert done.exit_code == 0, done.output
    listed = await asyncio.to_thread(call, "tool", "list", "crm", "--config", config)
    for shown in (done.output, listed.output):
        assert "no credential for the user of lists_as: " in shown
        assert "next: give that user one, or name another in lists_as" in shown
    tested = await asyncio.to_thread(call, "upstream", "test", "crm", "--config", config)
    assert tested.exit_code == 78
    assert "MT2523: crm: no credential for the user of lists_as: " in tested.stderr
    pinned = await asyncio.to_thread(call, "tool", "pin", "crm", "--config", config)
    assert "lists_as" in pinned.stderr


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (["--url", "http://h/mcp", "--credential", "bearer"], "--credential-set value="),
        (["--url", "http://h/mcp", "--credential-set", "value=env:X"], "goes with --credential"),
        (["--credential", "bearer", "--", "prog"], "goes with --url"),
        (
            ["--url", "http://h/mcp", "--credential", "bearer", "--credential-set", "origin=x"],
            "not kind and origin",
        ),
        (["--url", "http://h/mcp", "--credential", "query"], "Invalid value"),
    ],
)
def test_what_is_missing_is_said(config: Path, words: list[str], why: str) -> None:
    done = add(config, *words)
    assert done.exit_code == 2
    assert why in done.output
