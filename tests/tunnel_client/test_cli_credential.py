"""`upstream add --credential` writes where a secret is, and refuses the secret itself."""

import os
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from shared.keys import PrivateKey, encode_public
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
