"""Where configuration and state are when nobody says: /etc and /var/lib for root, else at home."""

import os
from collections.abc import Mapping
from pathlib import Path

CONFIG_VARIABLE = "TUNNEL_RELAY_CONFIG"


def default_config(environ: Mapping[str, str]) -> Path:
    """Return the path of `relay.toml`."""
    named = environ.get(CONFIG_VARIABLE)
    if named:
        return Path(named)
    if os.geteuid() == 0:
        return Path("/etc/tunnel-relay/relay.toml")
    return Path(
        environ.get("XDG_CONFIG_HOME") or Path.home() / ".config", "tunnel-relay/relay.toml"
    )


def default_state_dir(environ: Mapping[str, str]) -> Path:
    """Return the folder of the state; systemd's StateDirectory= comes first."""
    given = environ.get("STATE_DIRECTORY", "").partition(":")[0]
    if given:
        return Path(given)
    if os.geteuid() == 0:
        return Path("/var/lib/tunnel-relay")
    return Path(environ.get("XDG_STATE_HOME") or Path.home() / ".local/state", "tunnel-relay")
