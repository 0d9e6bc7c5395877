"""client.toml: what it may say, and how it says what is wrong."""

import os
from pathlib import Path

import pytest

from shared.configfile import SecretRef
from shared.keys import PrivateKey, encode_public
from tunnel_client.dial import choose_proxy
from tunnel_client.errors import NoProgramError, SecretError, SettingsError, UnsafeFileError
from tunnel_client.settings import (
    ClientSettings,
    default_config,
    default_state_dir,
    dial_target,
    find_program,
    load_settings,
    parse_settings,
    read_secret,
)

KEY = encode_public(PrivateKey.generate().public)
HEAD = f"""state_dir = "state"
[relay]
url = "wss://relay.example"
tunnel = "office"
public_key = "{KEY}"
"""
HTTP = '[[upstream]]\nname = "files"\nurl = "http://127.0.0.1:3000/mcp"\n'
STDIO = '[[upstream]]\nname = "time"\ncommand = ["sh", "-c", "true"]\n'


def parse(text: str, environ: dict[str, str] | None = None) -> ClientSettings:
    return parse_settings(text, Path("/etc/tunnel/client.toml"), environ or {})


def refusal(text: str) -> str:
    with pytest.raises(SettingsError) as caught:
        parse(text)
    assert caught.value.exit_code == 78
    return caught.value.cause


def test_a_whole_file_is_read_and_paths_stand_beside_it() -> None:
    settings = parse(
        HEAD
        + 'ca_file = "ca.pem"\nproxy = "http://proxy:3128"\nproxy_auth = "env:PROXY_LOGIN"\n'
        + HTTP
        + STDIO
        + 'cwd = "/srv"\ninherit_env = ["TZ"]\nenv = { API_KEY = "hush" }\nmax_children = 4\n'
    )
    assert settings.state_dir == Path("/etc/tunnel/state")
    assert settings.relay.ca_file == Path("/etc/tunnel/ca.pem")
    files, time = settings.upstream
    assert (files.url, files.command, files.connect_timeout) == (
        "http://127.0.0.1:3000/mcp",
        None,
        5.0,
    )
    assert (time.command, time.cwd, time.max_children) == (["sh", "-c", "true"], Path("/srv"), 4)
    assert time.env["API_KEY"].get_secret_value() == "hush"
    assert "hush" not in repr(settings)
    assert settings.find("time") is time
    assert settings.find("none") is None


def test_the_environment_goes_before_the_file() -> None:
    settings = parse(HEAD + HTTP, {"TUNNEL_CLIENT_RELAY__URL": "wss://other.example"})
    assert settings.relay.url == ["wss://other.example"]


def test_an_unknown_key_is_told_with_its_line_and_the_nearest_one() -> None:
    cause = refusal(HEAD + HTTP + 'ca_fiel = "x"\n')
    assert "client.toml:9:" in cause
    assert "did you mean" in cause
    assert "ca_file" in cause


@pytest.mark.parametrize(
    "url",
    [
        "file:///etc/passwd",
        "gopher://h/1",
        "ftp://h/x",
        "data:text/plain,x",
        "ws://h/mcp",
        "//h/mcp",
        "http://",
        "http:///mcp",
        "http://user:secret@h/mcp",
        "http://h/mcp#x",
        "http://h/m cp",
        "http://h/\\tx",
        "http://h:99999/mcp",
        "unix:relative.sock:/mcp",
        "unix:/run/x.sock",
        "UNIX:/run/x.sock:/mcp",
    ],
)
def test_only_http_https_and_unix_sockets_are_upstreams(url: str) -> None:
    cause = refusal(HEAD + f'[[upstream]]\nname = "x"\nurl = "{url}"\n')
    assert "upstream[0].url" in cause
    assert "secret" not in cause


@pytest.mark.parametrize(
    "url",
    [
        "http://files:3000/mcp",
        "https://files.example/mcp?x=1",
        "http://[::1]:80/",
        "unix:/run/x.sock:/mcp",
    ],
)
def test_each_kind_of_upstream_address_is_taken(url: str) -> None:
    assert parse(HEAD + f'[[upstream]]\nname = "x"\nurl = "{url}"\n').upstream[0].url == url


@pytest.mark.parametrize(
    ("tables", "why"),
    [
        ('[[upstream]]\nname = "x"\n', "exactly one of url and command"),
        (HTTP + 'command = ["x"]\n', "exactly one of url and command"),
        (HTTP + 'cwd = "/srv"\n', "cwd does not go with url"),
        (HTTP + "max_children = 3\n", "max_children does not go with url"),
        (HTTP + 'ca_file = "ca.pem"\n', "https:// url only"),
        (STDIO + 'ca_file = "ca.pem"\n', "ca_file does not go with command"),
        (HTTP + HTTP, "two upstreams are called files"),
        (STDIO.replace('"time"', '"../x"'), "a name is"),
        (STDIO.replace('"time"', '"Time"'), "a name is"),
        (STDIO.replace('["sh", "-c", "true"]', "[]"), "at least 1 item"),
        (STDIO.replace('["sh", "-c", "true"]', '[""]'), "first word of a command"),
        (STDIO.replace('["sh", "-c", "true"]', '"sh -c true"'), "list"),
        (STDIO + 'inherit_env = ["A B"]\n', "match pattern"),
        (HTTP + "response_timeout = 0\n", "greater than 0"),
        (HTTP + "response_timeout = inf\n", "finite"),
    ],
)
def test_an_upstream_that_makes_no_sense_is_refused(tables: str, why: str) -> None:
    assert why in refusal(HEAD + tables)


@pytest.mark.parametrize(
    ("old", "new", "why"),
    [
        ("wss://relay.example", "ws://relay.example", "loopback only"),
        ("wss://relay.example", "wss://relay.example/x", "ends after"),
        ('"office"', '"Office!"', "a name is"),
        (KEY, "A" * 42, "not a public key"),
        ('"office"', '"office"\nproxy = "http://u:secret@p:1"', "proxy_auth"),
        ('"office"', '"office"\nproxy = "socks5://p:1"', "a proxy is"),
        ('"office"', '"office"\nproxy_auth = "me:secret"', "never the secret"),
    ],
)
def test_a_relay_that_must_not_be_used_is_refused(old: str, new: str, why: str) -> None:
    cause = refusal(HEAD.replace(old, new))
    assert why in cause
    assert "secret@" not in cause
    assert "me:secret" not in cause


def test_a_file_others_may_change_is_refused(tmp_path: Path) -> None:
    """L15."""
    path = tmp_path / "client.toml"
    path.write_text(HEAD)
    path.chmod(0o644)
    assert load_settings(path, {}).relay.tunnel == "office"
    path.chmod(0o664)
    with pytest.raises(UnsafeFileError, match=f"chmod 0644 {path}"):
        load_settings(path, {})


def test_no_file_says_to_enroll(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="tunnel-client enroll"):
        load_settings(tmp_path / "client.toml", {})
    (tmp_path / "client.toml").write_bytes(b"\xff")
    with pytest.raises(SettingsError, match="not UTF-8"):
        load_settings(tmp_path / "client.toml", {})


def test_the_proxy_login_is_read_from_where_it_is_kept(tmp_path: Path) -> None:
    login = tmp_path / "login"
    login.write_text("bob:secret\n")
    login.chmod(0o600)
    settings = parse(HEAD + f'proxy = "http://p:1"\nproxy_auth = "file:{login}"\n')
    chosen = choose_proxy(dial_target(settings.relay, {}))
    assert chosen is not None
    assert (chosen.username, chosen.password) == ("bob", "secret")
    login.chmod(0o644)
    with pytest.raises(UnsafeFileError):
        dial_target(settings.relay, {})
    login.unlink()
    with pytest.raises(SecretError) as caught:
        dial_target(settings.relay, {})
    assert "bob" not in str(caught.value)


def test_a_program_is_found_once_and_run_by_its_path(tmp_path: Path) -> None:
    upstream = parse(HEAD + STDIO).upstream[0]
    program = tmp_path / "sh"
    with pytest.raises(NoProgramError, match="'sh'"):
        find_program(upstream, {"PATH": str(tmp_path)})
    program.touch(0o755)
    assert find_program(upstream, {"PATH": str(tmp_path)}) == [str(program), "-c", "true"]
    absolute = upstream.model_copy(update={"command": [str(program), "x"]})
    assert find_program(absolute, {"PATH": ""}) == [str(program), "x"]
    program.chmod(0o644)
    if os.geteuid() != 0 or not os.access(program, os.X_OK):
        with pytest.raises(NoProgramError):
            find_program(absolute, {})


def test_where_things_are_when_nobody_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert default_config({}) == Path("/etc/tunnel-client/client.toml")
    assert default_state_dir({}) == Path("/var/lib/tunnel-client")
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    home = {"XDG_CONFIG_HOME": "/h/c", "XDG_STATE_HOME": "/h/s"}
    assert default_config(home) == Path("/h/c/tunnel-client/client.toml")
    assert default_state_dir(home) == Path("/h/s/tunnel-client")
    assert default_config({"TUNNEL_CLIENT_CONFIG": "/x.toml"}) == Path("/x.toml")
    assert default_state_dir({"STATE_DIRECTORY": "/var/lib/private/t:/b"}) == Path(
        "/var/lib/private/t"
    )


def test_the_health_port_is_on_loopback_only() -> None:
    assert parse(HEAD).health is None
    for place, read in (("127.0.0.1:9464", ("127.0.0.1", 9464)), ("[::1]:80", ("::1", 80))):
        health = parse(HEAD + f'[health]\nlisten = "{place}"\n').health
        assert health is not None
        assert health.place == read
    for place in ("0.0.0.0:9464", "10.0.0.1:1", "localhost:1", "127.0.0.1", "127.0.0.1:0", ":1"):
        assert "an address of loopback" in refusal(HEAD + f'[health]\nlisten = "{place}"\n')


@pytest.mark.parametrize(("mode", "good"), [(0o700, True), (0o1777, True), (0o777, False)])
def test_a_link_to_the_proxys_login_is_ours_alone(tmp_path: Path, mode: int, good: bool) -> None:
    """C21: the rules of every other secret, as Kubernetes mounts it too."""
    folder = tmp_path / "mount"
    folder.mkdir()
    (folder / "real").touch(mode=0o600)
    (folder / "real").write_text("user:secret")
    (folder / "login").symlink_to("real")
    folder.chmod(mode)
    reference = SecretRef("file", str(folder / "login"))
    if good:
        assert read_secret(reference, {}).get_secret_value() == "user:secret"
    else:
        with pytest.raises(UnsafeFileError, match="symbolic link that others can"):
            read_secret(reference, {})
