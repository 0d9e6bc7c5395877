"""Each kind of upstream is made with the numbers the configuration gives."""

from pathlib import Path

import pytest

from tunnel_client.consent.guard import Guards
from tunnel_client.errors import NoProgramError, SettingsError
from tunnel_client.settings import UpstreamSettings
from tunnel_client.upstream.http import HttpUpstream
from tunnel_client.upstream.stdio import StdioUpstream
from tunnel_client.upstreams import make_upstream

NONE = Guards(Path("/nonexistent"), ())


def test_a_url_makes_an_http_upstream_with_its_timeouts() -> None:
    settings = UpstreamSettings(
        name="files", url="unix:/run/x.sock:/mcp", connect_timeout=1.5, response_timeout=7
    )
    upstream = make_upstream(settings, {}, NONE)
    assert isinstance(upstream, HttpUpstream)
    assert upstream.name == "files"
    assert (upstream.limits.connect_seconds, upstream.limits.head_seconds) == (1.5, 7)


def test_a_command_makes_a_stdio_upstream() -> None:
    upstream = make_upstream(
        UpstreamSettings(name="x", command=["sh"]), {"PATH": "/usr/bin:/bin"}, NONE
    )
    assert isinstance(upstream, StdioUpstream)
    assert upstream.name == "x"


def test_what_is_missing_is_found_before_anything_runs(tmp_path: Path) -> None:
    with pytest.raises(NoProgramError, match="upstream x: no program 'sh'"):
        make_upstream(UpstreamSettings(name="x", command=["sh"]), {"PATH": str(tmp_path)}, NONE)
    gone = UpstreamSettings(name="x", command=["sh"])
    made = make_upstream(gone, {"PATH": str(tmp_path)}, NONE, absent=True)
    assert isinstance(made, StdioUpstream)
    missing = UpstreamSettings(name="x", url="https://h/mcp", ca_file=tmp_path / "ca.pem")
    with pytest.raises(SettingsError, match="upstream x: cannot read the CA file"):
        make_upstream(missing, {}, NONE)
