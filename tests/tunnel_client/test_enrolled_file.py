"""Enrolled again, client.toml says what is new and everything else as it did."""

from dataclasses import replace
from pathlib import Path

import pytest
from pydantic import SecretStr

from tests.tunnel_client.test_settings import KEY
from tunnel_client.dial import DialTarget
from tunnel_client.enrolled_file import Enrolment, check_file, text_after, way_of, write_file
from tunnel_client.errors import SettingsError
from tunnel_client.relay_url import RelayUrl

OTHER_KEY = "A" * 43
OLD = f"""# mine
[health] # before the upstreams or behind
listen = "127.0.0.1:9464"

[relay]
url = ["wss://relay.example", "wss://other.example:8443"]  # two ways
links = 3
lease = 20
tunnel = "office"
public_key = "{KEY}" # pinned
ca_file = "ca.pem"
proxy = "http://proxy:3128"
proxy_auth = "env:LOGIN"

[[upstream]] # the files
name = "files"
url = "http://127.0.0.1:3000/mcp"

[audit]
keep_days = 90
[[audit.export]]
name = "lake"
to = "https://siem.example.com/ingest"

[vault]
address = "https://v"
token = "env:T"
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "client.toml"
    path.write_text(f'state_dir = "state"\n{OLD}')
    path.chmod(0o640)
    return path


def enrolment(path: Path, url: str = "wss://relay.example", **more: str) -> Enrolment:
    way = way_of(path)
    target = DialTarget(RelayUrl.parse(url), way.ca_file, way.proxy, SecretStr("a:b"))
    new = Enrolment(target, "office", KEY, path.parent / "state", way.proxy_auth)
    return replace(new, **more)  # type: ignore[arg-type]


def test_what_the_file_says_already_is_not_written(path: Path) -> None:
    before = path.read_text()
    for url in ("wss://relay.example", "wss://relay.example:443", "wss://other.example:8443"):
        written = write_file(path, enrolment(path, url), {})
        assert (written.again, written.before, written.left_out) == (True, None, [])
    assert path.read_text() == before
    assert [each.name for each in path.parent.iterdir()] == ["client.toml"]


def test_only_what_is_new_changes_and_the_old_file_is_kept(path: Path) -> None:
    before = path.read_text()
    new = enrolment(path, "wss://new.example", tunnel="lab", relay_key=OTHER_KEY)
    check_file(path, new, {})
    written = write_file(path, new, {})
    urls = '["wss://relay.example", "wss://other.example:8443"]'
    wanted = before.replace(urls, '"wss://new.example"').replace('"office"', '"lab"')
    assert path.read_text() == wanted.replace(KEY, OTHER_KEY)
    assert written.left_out == ["wss://relay.example", "wss://other.example:8443"]
    assert written.before == path.with_name("client.toml.before")
    assert written.before.read_text() == before
    modes = [each.stat().st_mode & 0o777 for each in (path, written.before)]
    assert modes == [0o640, 0o600]
    assert written.before in written.settings.own_files
    assert [each.name for each in written.settings.upstream] == ["files"]
    assert "SecretStr" not in path.read_text()


def test_what_the_command_named_is_written_and_a_login_of_another_proxy_taken_out(
    path: Path,
) -> None:
    new = enrolment(path)
    target = replace(new.target, ca_file=Path("/ca.pem"), proxy="http://else:1", proxy_auth=None)
    text = text_after(path, path.read_text(), replace(new, target=target, proxy_auth=None))
    wanted = path.read_text().replace('"ca.pem"', '"/ca.pem"').replace("//proxy:3128", "//else:1")
    assert text == wanted.replace('proxy_auth = "env:LOGIN"\n', "")


def test_a_linked_file_is_changed_and_kept_where_it_is(path: Path, tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    link = tmp_path / "etc" / "link.toml"
    link.symlink_to(path)
    new = enrolment(path, relay_key=OTHER_KEY)
    new = replace(new, target=replace(new.target, ca_file=tmp_path / "etc" / "ca.pem"))
    written = write_file(link, new, {})
    assert link.is_symlink()
    assert OTHER_KEY in path.read_text()
    assert written.before == path.with_name("client.toml.before")


@pytest.mark.parametrize(
    ("old", "told"),
    [
        (f"{OLD}typo = 1\n", r"client.toml:28: vault.typo: unknown key"),
        ("not toml", r"client.toml:1: not TOML"),
        (f"x = {'[' * 20_000}", "not TOML"),
        ("relay = 1\n", "relay"),
    ],
)
def test_a_file_that_could_not_be_used_is_refused_as_it_stands(
    path: Path, old: str, told: str
) -> None:
    path.write_text(old)
    path.chmod(0o600)
    with pytest.raises(SettingsError, match=told) as caught:
        check_file(path, enrolment(path), {})
    assert "away, and enroll again" in caught.value.next
    assert path.read_text() == old


def test_a_broken_key_or_an_empty_file_is_what_enrolling_again_mends(path: Path) -> None:
    for old in (OLD.replace(KEY, "torn"), ""):
        path.write_text(old)
        check_file(path, enrolment(path), {})
        settings = write_file(path, enrolment(path), {}).settings
        assert settings.relay.public_key == KEY
        assert settings.state_dir == path.parent / "state"


def test_the_way_that_a_file_names_is_found(path: Path) -> None:
    way = way_of(path)
    assert (way.ca_file, way.state_dir) == (path.parent / "ca.pem", path.parent / "state")
    assert (way.proxy, way.proxy_auth) == ("http://proxy:3128", "env:LOGIN")
    path.write_text("not toml")
    assert way_of(path) == way_of(path.with_name("none"))
