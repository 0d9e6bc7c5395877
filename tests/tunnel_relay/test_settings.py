"""What the relay's configuration may say."""

from pathlib import Path

import pytest

from tunnel_relay.errors import Code, RelayError
from tunnel_relay.setting_types import is_anywhere, is_loopback, normal_origin
from tunnel_relay.settings import (
    AdminListen,
    Settings,
    parse_settings,
    read_settings,
)

SMALLEST = 'public_url = "https://relay.example.com"\nstate_dir = "/var/lib/x"\n'


def read(text: str, **environ: str) -> Settings:
    return parse_settings(text, "relay.toml", environ)


def report(text: str) -> str:
    with pytest.raises(RelayError) as caught:
        read(text)
    assert caught.value.code is Code.CONFIG_INVALID
    return str(caught.value)


def test_ten_thousand_clients_have_room_for_the_two_links_that_each_keeps() -> None:
    assert read(SMALLEST).limits.links == 2 * 10_000


def test_the_smallest_configuration_has_the_documented_defaults() -> None:
    settings = read(SMALLEST)
    assert settings.public_url == ("https://relay.example.com",)
    assert settings.link_origins == ("wss://relay.example.com",)
    assert (settings.listen.host, settings.listen.port) == ("127.0.0.1", 8443)
    assert settings.sessions.default_idle == 3600
    assert settings.sessions.max_ttl == 30 * 86400
    assert settings.limits.body_bytes == 4 * 1024 * 1024
    assert settings.control_socket == Path("/var/lib/x/control.sock")
    assert settings.database == Path("/var/lib/x/relay.db")
    assert settings.relay_key == Path("/var/lib/x/relay.key")
    assert settings.mcp_session_key == Path("/var/lib/x/mcp-session.key")
    assert settings.dev_authority is None


def test_everything_can_be_said() -> None:
    settings = read(
        """
        public_url = ["https://a.example", "http://localhost:8080"]
        state_dir = "/s"
        trusted_proxies = ["10.0.0.0/8", "::1"]
        database_file = "/d/relay.db"
        relay_key_file = "/k/relay"
        mcp_session_key_file = "/k/mcp"
        [listen]
        host = "0.0.0.0"
        port = 443
        [tls]
        cert_file = "/c"
        key_file = "/k"
        [sessions]
        max_ttl = "7d"
        [limits]
        sse_comment = "20s"
        """
    )
    assert settings.link_origins == ("wss://a.example", "ws://localhost:8080")
    assert settings.database == Path("/d/relay.db")
    assert settings.relay_key == Path("/k/relay")
    assert settings.mcp_session_key == Path("/k/mcp")
    assert settings.sessions.max_ttl == 604800
    assert settings.limits.sse_comment == 20


def test_the_environment_overrides() -> None:
    settings = read(SMALLEST, TUNNEL_RELAY_LISTEN__PORT="9000", TUNNEL_RELAY_CONFIG="/x")
    assert settings.listen.port == 9000


@pytest.mark.parametrize(
    ("origin", "normal"),
    [
        ("https://Relay.Example.com/", "https://relay.example.com"),
        ("https://relay.example:443", "https://relay.example"),
        ("https://relay.example:8443", "https://relay.example:8443"),
        ("http://127.0.0.1:80", "http://127.0.0.1"),
        ("http://[::1]:8080", "http://[::1]:8080"),
    ],
)
def test_origins_are_written_one_way(origin: str, normal: str) -> None:
    assert normal_origin(origin) == normal


@pytest.mark.parametrize(
    "origin",
    [
        "relay.example",
        "wss://relay.example",
        "https://",
        "https://relay.example/path",
        "https://relay.example?x",
        "https://user:hunter2@relay.example",
        "https://relay.example:hunter2",
        "https://relay.example:99999",
        "https://[::1",
        "https://a b",
        "https://$(reboot)",
        "https://a;b",
        "https://a'b",
        "http://relay.example",
        "http://10.0.0.1",
    ],
)
def test_other_origins_are_refused_and_not_repeated(origin: str) -> None:
    with pytest.raises(ValueError, match="http") as caught:
        normal_origin(origin)
    assert "hunter2" not in str(caught.value)


def test_plain_http_off_loopback_needs_a_balancer() -> None:
    assert "trusted_proxies" in report(SMALLEST + '[listen]\nhost = "0.0.0.0"\n')
    read('trusted_proxies = ["10.0.0.1"]\n' + SMALLEST + '[listen]\nhost = "0.0.0.0"\n')


def test_mistakes_name_their_line() -> None:
    assert "relay.toml:3: statedir: unknown key; did you mean state_dir?" in report(
        SMALLEST + 'statedir = "/x"\n'
    )
    assert report(SMALLEST + '[sessions]\nmax_ttl = "8 hours"\n').startswith(
        "relay.toml:4: sessions.max_ttl: write a duration"
    )
    assert "absolute" in report('public_url = "https://a.example"\nstate_dir = "x"\n')
    assert "too long" in report(f'public_url = "https://a.example"\nstate_dir = "/{"x" * 120}"\n')
    assert "default_ttl" in report(SMALLEST + '[sessions]\nmax_ttl = "1h"\n')
    assert "public_url" in report('public_url = []\nstate_dir = "/s"\n')


def test_loopback_is_told_from_the_rest() -> None:
    assert all(is_loopback(host) for host in ("localhost", "127.0.0.1", "127.9.9.9", "::1"))
    assert not any(
        is_loopback(host) for host in ("", "0.0.0.0", "10.0.0.1", "localhost.evil", "::")
    )


def test_a_file_others_can_write_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "relay.toml"
    path.write_text(SMALLEST)
    path.chmod(0o666)
    with pytest.raises(RelayError) as caught:
        read_settings(path, {})
    assert caught.value.code is Code.FILE_UNSAFE
    path.chmod(0o644)
    assert read_settings(path, {}).state_dir == Path("/var/lib/x")


def test_there_is_no_admin_listener_unless_it_is_asked_for() -> None:
    assert read(SMALLEST).admin is None
    assert read(SMALLEST + "[admin]\n").admin == AdminListen()
    assert read(SMALLEST, TUNNEL_RELAY_ADMIN__PORT="0").admin == AdminListen(port=0)


TLS = '[admin.tls]\ncert_file = "/c"\nkey_file = "/k"\n'


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "console.example.com"])
def test_the_admin_listener_stays_on_loopback_without_tls(host: str) -> None:
    """U14: also behind a balancer: passwords would cross a network in clear."""
    for proxies in ("", 'trusted_proxies = ["10.0.0.0/8"]\n'):
        text = f'{proxies}{SMALLEST}[admin]\nhost = "{host}"\npublic_url = "https://a.example"\n'
        assert "[admin.tls]" in report(text)
        assert read(text + TLS).admin is not None


def test_an_admin_listener_on_all_addresses_knows_its_name() -> None:
    assert "admin.public_url" in report(f'{SMALLEST}[admin]\nhost = "0.0.0.0"\n{TLS}')
    assert read(f'{SMALLEST}[admin]\nhost = "192.0.2.1"\n{TLS}').admin is not None
    assert is_anywhere("0.0.0.0")
    assert is_anywhere("::")
    assert not is_anywhere("localhost")
