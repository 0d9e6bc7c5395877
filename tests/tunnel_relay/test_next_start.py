"""What SIGHUP says of a relay's configuration that a restart would take up, or would refuse."""

from collections.abc import Callable
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from tests.tunnel_relay.making import make_relay
from tunnel_relay.next_start import look
from tunnel_relay.settings import Settings, read_settings

RESTART = "settings changed that need a restart"


@pytest.fixture
def running(tmp_path: Path) -> Settings:
    make_relay(tmp_path, demo=True)
    return read_settings(tmp_path / "relay.toml", {})


def looked(folder: Path, running: Settings) -> tuple[str, list[tuple[str, ...]]]:
    """Look, and return the words and what was logged: names and codes, or keys."""
    with capture_logs() as lines:
        words = look(running, folder / "relay.toml", {})
    return words, [(each["event"], each.get("code") or each["keys"]) for each in lines]


def test_nothing_is_said_of_what_is_as_it_was(tmp_path: Path, running: Settings) -> None:
    assert looked(tmp_path, running) == ("", [])


def test_what_changed_is_named(tmp_path: Path, running: Settings) -> None:
    config = tmp_path / "relay.toml"
    config.write_text(config.read_text().replace('"12h"', '"11h"') + "[limits]\nlinks = 7\n")
    keys = "sessions.default_ttl, limits.links"
    assert looked(tmp_path, running) == (RESTART, [("settings_need_restart", keys)])


Break = Callable[[Path], object]
BREAKS: dict[str, tuple[Break, str]] = {
    "no TOML": (lambda folder: (folder / "relay.toml").write_text("max_ttl ="), "MT1001"),
    "gone": (lambda folder: (folder / "relay.toml").unlink(), "MT1002"),
    "open": (lambda folder: (folder / "relay.toml").chmod(0o666), "MT1003"),
    "relay key": (lambda folder: (folder / "state" / "relay.key").unlink(), "MT1004"),
    "session key": (lambda folder: (folder / "state" / "mcp-session.key").unlink(), "MT1004"),
}


@pytest.mark.parametrize("name", BREAKS)
def test_what_a_start_would_refuse_is_said_with_its_code(
    tmp_path: Path, running: Settings, name: str
) -> None:
    break_it, code = BREAKS[name]
    break_it(tmp_path)
    assert looked(tmp_path, running) == (
        "configuration refused",
        [("configuration_unusable", code)],
    )


def test_files_that_are_read_again_anyway_are_not_told_of_twice(
    tmp_path: Path, running: Settings
) -> None:
    assert running.tls is not None
    running.tls.cert_file.write_text("none")
    (tmp_path / "relay-policy.yaml").write_text("none")
    assert looked(tmp_path, running) == ("", [])


def test_files_that_were_others_are_looked_at(tmp_path: Path, running: Settings) -> None:
    config = tmp_path / "relay.toml"
    config.write_text(
        f'policy = "{tmp_path}/other.yaml"\n' + config.read_text().replace("dev-cert", "other")
    )
    assert looked(tmp_path, running) == (
        f"configuration refused, {RESTART}",
        [
            ("configuration_unusable", "MT1100"),
            ("configuration_unusable", "MT1002"),
            ("settings_need_restart", "tls.cert_file, policy"),
        ],
    )
