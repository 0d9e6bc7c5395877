"""A login of the proxy that is rotated is used for the next dial, and nothing else ends."""

from pathlib import Path

import anyio
import pytest
from structlog.testing import capture_logs

from tests.helpers.connect_proxy import ConnectProxy
from tests.helpers.tls import Authority
from tests.tunnel_client.test_dial import Caller, listening
from tests.tunnel_client.test_settings import HEAD, parse
from tunnel_client.dial import choose_proxy, dial
from tunnel_client.errors import SecretError
from tunnel_client.settings import dial_target, dial_targets


def kept(path: Path, login: str) -> Path:
    path.write_text(login)
    path.chmod(0o600)
    return path


async def test_a_rotated_login_is_read_when_the_relay_is_dialled(tmp_path: Path) -> None:
    authority = Authority()
    ca_file = authority.write(tmp_path / "ca.pem")
    login = kept(tmp_path / "login", "bob:old\n")
    with anyio.fail_after(10):
        async with (
            listening(authority.server("relay.example")) as port,
            ConnectProxy({"relay.example:443": ("127.0.0.1", port)}, login="bob:new") as proxy,
        ):
            way = f'proxy = "http://127.0.0.1:{proxy.port}"\nproxy_auth = "file:{login}"\n'
            relay = parse(f'{HEAD}{way}ca_file = "{ca_file}"\n').relay
            target = dial_target(relay, {})
            kept(login, "bob:new\n")
            transport, _ = await dial(target, Caller)
            transport.abort()
            assert (len(proxy.asked), proxy.refused) == (1, 0)


def test_one_that_cannot_be_read_leaves_the_one_before_and_is_said_once(tmp_path: Path) -> None:
    login = kept(tmp_path / "login", "bob:first")
    relay = parse(f'{HEAD}proxy = "http://p:1"\nproxy_auth = "file:{login}"\n').relay
    with capture_logs() as lines:
        targets = dial_targets(relay.model_copy(update={"url": ["wss://a", "wss://b"]}), {})

        def passwords() -> list[str | None]:
            return [chosen.password for each in targets if (chosen := choose_proxy(each))]

        login.chmod(0o644)
        assert passwords() == ["first", "first"]
        login.unlink()
        assert passwords() == ["first", "first"]
        kept(login, "")
        assert passwords() == ["first", "first"]
        assert len(lines) == 3
        kept(login, "bob:second")
        assert passwords() == ["second", "second"]
        login.unlink()
        assert passwords() == ["second", "second"]
    assert [line["log_level"] for line in lines] == ["warning"] * 4
    assert not any(word in str([*lines, *targets]) for word in ("first", "second"))
    with pytest.raises(SecretError):
        dial_target(relay, {})
