"""Where files are when nobody says."""

import os
from pathlib import Path

import pytest

from tunnel_relay.places import default_config, default_state_dir


def test_the_environment_may_say() -> None:
    assert default_config({"TUNNEL_RELAY_CONFIG": "/x/y.toml"}) == Path("/x/y.toml")
    assert default_state_dir({"STATE_DIRECTORY": "/var/lib/a:/var/lib/b"}) == Path("/var/lib/a")


def test_root_uses_the_systems_folders(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert default_config({}) == Path("/etc/tunnel-relay/relay.toml")
    assert default_state_dir({}) == Path("/var/lib/tunnel-relay")


def test_others_use_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    given = {"XDG_CONFIG_HOME": "/h/c", "XDG_STATE_HOME": "/h/s"}
    assert default_config(given) == Path("/h/c/tunnel-relay/relay.toml")
    assert default_state_dir(given) == Path("/h/s/tunnel-relay")
    assert default_config({}) == Path.home() / ".config/tunnel-relay/relay.toml"
    assert default_state_dir({}) == Path.home() / ".local/state/tunnel-relay"
