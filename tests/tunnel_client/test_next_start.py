"""What SIGHUP says of a client's configuration that a restart would take up, or would refuse."""

from pathlib import Path

import pytest
from structlog.testing import capture_logs

from tests.tunnel_client.test_settings import HEAD, HTTP
from tunnel_client.identity import Identity, StateLock
from tunnel_client.next_start import look
from tunnel_client.policy.start import write_default
from tunnel_client.settings import ClientSettings, load_settings

RESTART = "settings changed that need a restart"
ENVIRON = {"PATH": "/usr/bin:/bin"}


@pytest.fixture
def running(tmp_path: Path) -> ClientSettings:
    path = tmp_path / "client.toml"
    path.write_text(HEAD + HTTP)
    path.chmod(0o600)
    settings = load_settings(path, ENVIRON)
    with StateLock(settings.state_dir):
        Identity.create(settings.state_dir).save()
    write_default(tmp_path / "policy.yaml")
    return settings


def looked(running: ClientSettings) -> tuple[str, list[str]]:
    """Look, and return the words and what was logged of each: its code, or the keys."""
    assert running.file is not None
    with capture_logs() as lines:
        words = look(running, running.file, ENVIRON)
    return words, [
        each["why"].partition(":")[0] if "why" in each else each["keys"] for each in lines
    ]


def test_nothing_is_said_of_what_is_as_it_was(running: ClientSettings) -> None:
    assert looked(running) == ("", [])


def test_what_changed_is_named_and_no_value_of_it(running: ClientSettings) -> None:
    path = running.file
    assert path is not None
    text = HEAD + "links = 5\n" + HTTP.replace(":3000", ":3001")
    path.write_text(text)
    assert looked(running) == (RESTART, ["relay.links, upstream[0].url"])


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("links =", "MT2001"),
        (HEAD.replace("[relay]", "[rely]") + HTTP, "MT2001"),
        (HEAD + HTTP.replace("http:", "https:") + 'ca_file = "none.pem"\n', "MT2001"),
        (HEAD + 'ca_file = "none.pem"\n' + HTTP, "MT2206"),
        (HEAD + 'proxy = "http://p:1"\nproxy_auth = "env:NOT_SET"\n' + HTTP, "MT2003"),
    ],
)
def test_what_a_start_would_refuse_is_said_with_its_code(
    running: ClientSettings, text: str, code: str
) -> None:
    assert running.file is not None
    running.file.write_text(text)
    words, said = looked(running)
    assert words.startswith("configuration refused")
    assert said[0] == code


def test_a_file_that_others_can_change_and_one_that_is_gone(running: ClientSettings) -> None:
    assert running.file is not None
    running.file.chmod(0o666)
    assert looked(running) == ("configuration refused", ["MT2002"])
    running.file.unlink()
    assert looked(running) == ("configuration refused", ["MT2001"])


def test_a_policy_that_is_read_again_anyway_is_not_told_of_twice(running: ClientSettings) -> None:
    running.policy.write_text("none")
    assert looked(running) == ("", [])


def test_the_key_that_a_start_needs_is_looked_at(running: ClientSettings) -> None:
    (running.state_dir / "client.key").unlink()
    assert looked(running) == ("configuration refused", ["MT2101"])
