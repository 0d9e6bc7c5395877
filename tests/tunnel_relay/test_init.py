"""The configuration that a new relay starts from."""

import tomllib
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from tests.tunnel_relay.making import make_relay
from tunnel_relay.checks import check
from tunnel_relay.errors import Code
from tunnel_relay.init import Wanted, config_text, init
from tunnel_relay.settings import AdminListen, parse_settings

NAMES = st.text(st.characters(blacklist_categories=("Cc", "Cs"), blacklist_characters="\x7f/"))


def test_a_new_relay_passes_its_own_check(tmp_path: Path) -> None:
    settings = make_relay(tmp_path, demo=True)
    assert settings.dev_authority == tmp_path / "state" / "dev-ca.pem"
    assert check(tmp_path / "relay.toml", {}) == []


@given(NAMES)
def test_any_path_survives_the_writing(name: str) -> None:
    state = Path("/var/lib", name)
    text = config_text(Wanted(Path("/c"), state, "https://a.example", "::1", 1), (state, state))
    data = tomllib.loads(text)
    assert data["state_dir"] == data["tls"]["cert_file"] == str(state)
    assert data["listen"] == {"host": "::1", "port": 1}


def test_a_new_relay_has_a_console_on_loopback(tmp_path: Path) -> None:
    state = tmp_path / "state"
    wanted = Wanted(
        tmp_path / "c.toml", state, "https://a.example", "::1", 1, admin=("127.0.0.1", 8444)
    )
    assert init(wanted).admin == AdminListen()


def test_a_console_elsewhere_gets_the_relays_certificate_and_a_name(tmp_path: Path) -> None:
    chain, key = tmp_path / "c.pem", tmp_path / "k.pem"
    url = "https://relay.example.com:443"
    wanted = Wanted(tmp_path, tmp_path, url, "::1", 1, (chain, key), admin=("0.0.0.0", 8444))
    admin = parse_settings(config_text(wanted, wanted.tls), "c.toml", {}).admin
    assert admin is not None
    assert admin.public_url == "https://relay.example.com:8444"
    assert admin.tls is not None
    assert (admin.tls.cert_file, admin.tls.key_file) == (chain, key)


def test_the_consoles_certificate_is_checked_too(tmp_path: Path) -> None:
    make_relay(tmp_path)
    missing = {
        "TUNNEL_RELAY_ADMIN__TLS__CERT_FILE": str(tmp_path / "none.pem"),
        "TUNNEL_RELAY_ADMIN__TLS__KEY_FILE": str(tmp_path / "none.key"),
    }
    (problem,) = check(tmp_path / "relay.toml", missing)
    assert problem.code is Code.CONFIG_MISSING


def test_the_policy_is_checked_with_the_line_of_each_fault(tmp_path: Path) -> None:
    make_relay(tmp_path)
    policy = tmp_path / "relay-policy.yaml"
    policy.write_text("version: 1\nrules:\n- {id: a, efect: allow}\n")
    (problem,) = check(tmp_path / "relay.toml", {})
    assert problem.code is Code.POLICY_BROKEN
    assert f"{policy}:3: " in problem.message
    policy.unlink()
    (problem,) = check(tmp_path / "relay.toml", {})
    assert problem.code is Code.POLICY_MISSING
