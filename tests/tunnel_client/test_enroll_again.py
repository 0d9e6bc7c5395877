"""An enrolment that replaces another keeps the file, but for what it knows anew."""

import json
from pathlib import Path
from typing import Any

import anyio
import pytest
from pydantic import SecretStr

from shared.keys import PrivateKey, encode_public
from tests.helpers.tls import Authority
from tests.tunnel_client.test_enroll import CODE, RELAY_KEY, WELCOME, Relay, plan
from tunnel_client.enroll import EnrolPlan, enroll, next_steps, plan_from
from tunnel_client.errors import AlreadyEnrolledError, SettingsError
from tunnel_client.identity import Identity


@pytest.fixture
def relay(tmp_path: Path) -> Relay:
    relay = Relay(Authority())
    relay.authority.write(tmp_path / "ca.pem")
    relay.says(200, WELCOME)
    return relay


async def test_an_enrolment_is_only_replaced_when_told_and_keeps_the_file(
    relay: Relay, tmp_path: Path
) -> None:
    with anyio.fail_after(10):
        async with relay.listening():
            made = plan(relay, tmp_path)
            await enroll(made, CODE)
            first = Identity.read(made.state_dir).instance
            (tmp_path / "other.yaml").write_text("mine")
            before = f'policy = "../other.yaml"\n{made.config.read_text()}'
            before += '[[upstream]]\nname = "a"\nurl = "http://127.0.0.1/mcp"\n'
            before += '[health]\nlisten = "127.0.0.1:9464"\n'
            made.config.write_text(before)
            (tmp_path / "etc" / "policy.yaml").unlink()
            with pytest.raises(AlreadyEnrolledError):
                await enroll(made, CODE)
            assert len(relay.asked) == 1
            again = plan(relay, tmp_path, force=True)
            same = await enroll(again, CODE)
            assert made.config.read_text() == before
            other = encode_public(PrivateKey.generate().public)
            relay.says(200, json.dumps({"tunnel": "office", "relay_key": other}).encode())
            changed = await enroll(again, CODE)
    assert Identity.read(made.state_dir).instance != first
    assert made.config.read_text() == before.replace(RELAY_KEY, other)
    assert (tmp_path / "etc" / "client.toml.before").read_text() == before
    assert not (tmp_path / "etc" / "policy.yaml").exists(), "its policy is another file"
    told = [next_steps(again, each, {}) for each in (same, changed)]
    assert "stays as it was" in told[0]
    assert str(tmp_path / "etc" / "client.toml.before") in told[1]
    for text in told:
        assert "It offers a, as before. Next, run:" in text
        assert "upstream add" not in text
        assert "other.yaml; read it" in text


async def test_a_file_that_could_not_be_used_is_refused_before_the_code_is_spent(
    relay: Relay, tmp_path: Path
) -> None:
    with anyio.fail_after(10):
        async with relay.listening():
            made = plan(relay, tmp_path, force=True)
            await enroll(made, CODE)
            with made.config.open("a") as file:
                file.write("[helth]\n")
            with pytest.raises(SettingsError, match="helth"):
                await enroll(made, CODE)
    assert len(relay.asked) == 1


def test_what_the_command_leaves_open_is_as_the_file_says(tmp_path: Path) -> None:
    config = tmp_path / "client.toml"
    config.write_text(
        'state_dir = "here"\n[relay]\nca_file = "ca.pem"\n'
        'proxy = "http://p:1"\nproxy_auth = "env:LOGIN"\n'
    )
    config.chmod(0o600)
    environ = {"LOGIN": "a:b"}

    def planned(proxy: str | None, *, force: bool = True) -> EnrolPlan:
        way = {"ca_file": None, "proxy": proxy, "proxy_auth": None, "state_dir": None}
        words: dict[str, Any] = {"config": config, "force": force, "environ": environ, **way}
        return plan_from("wss://relay.example", **words)

    made = planned(None)
    assert made.state_dir == tmp_path / "here"
    assert (made.target.ca_file, made.target.proxy) == (tmp_path / "ca.pem", "http://p:1")
    assert made.target.proxy_auth == SecretStr("a:b")
    assert planned("http://p:1").target.proxy_auth == SecretStr("a:b")
    assert planned("http://else:1").target.proxy_auth is None
    assert planned(None, force=False).target.proxy is None
