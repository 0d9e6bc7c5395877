"""The configuration that a new relay starts from."""

import tomllib
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from tests.tunnel_relay.making import make_relay
from tunnel_relay.checks import check
from tunnel_relay.init import Wanted, config_text

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
