"""Where a login is kept, and that nobody else can read it."""

import json
import stat
from pathlib import Path

import anyio
import keyring.backend
import pytest
from pydantic import SecretStr

from tunnel_client.connect.address import WebUrl
from tunnel_client.connect.grant import Grant
from tunnel_client.connect.token_store import Keyring, TokenStore, system_keyring
from tunnel_client.errors import UnsafeFileError
from tunnel_client.errors_connect import ConnectBusyError

SERVER = WebUrl.parse("https://relay.example/t/a/b/mcp")


def grant(access: str = "mts_canary") -> Grant:
    return Grant(
        server=SERVER.text,
        issuer="https://relay.example",
        client_id="desk",
        token_endpoint="https://relay.example/oauth/token",
        revocation_endpoint=None,
        access=SecretStr(access),
        refresh=SecretStr("mtr_canary"),
        expires=5.0,
    )


class Ring(keyring.backend.KeyringBackend):
    """A backend of the real library that keeps in memory."""

    priority = 1.0

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.kept: dict[tuple[str, str], str] = {}

    def get_password(self, service: str, username: str) -> str | None:
        return self.kept.get((service, username))

    def set_password(self, service: str, username: str, password: str) -> None:
        self.kept[service, username] = password

    def delete_password(self, service: str, username: str) -> None:
        del self.kept[service, username]


class Locked(Ring):
    """A backend whose owner says no."""

    def set_password(self, service: str, username: str, password: str) -> None:
        raise RuntimeError("locked")


def store(folder: Path, ring: Keyring | None = None, server: WebUrl = SERVER) -> TokenStore:
    return TokenStore(folder / "state", server, ring)


def files(folder: Path) -> list[Path]:
    return list((folder / "state" / "connect").glob("*.json"))


async def test_without_a_keyring_it_is_a_file_for_us_alone(tmp_path: Path) -> None:
    kept = store(tmp_path)
    assert await kept.load() is None
    await kept.save(grant("first"))
    await kept.save(grant())
    (file,) = files(tmp_path)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700
    assert await store(tmp_path).load() == grant()
    await kept.forget()
    assert await kept.load() is None
    await kept.forget()


async def test_in_a_keyring_no_file_holds_a_token(tmp_path: Path) -> None:
    ring = Ring()
    await store(tmp_path, ring).save(grant())
    (file,) = files(tmp_path)
    assert "canary" not in file.read_text()
    assert await store(tmp_path, ring).load() == grant()
    # A process that cannot see the keyring has no login, rather than half of one.
    assert await store(tmp_path).load() is None
    await store(tmp_path, ring).forget()
    assert ring.kept == {}


async def test_a_keyring_that_will_not_keep_leads_to_the_file(tmp_path: Path) -> None:
    ring = Locked()
    await store(tmp_path, ring).save(grant())
    assert await store(tmp_path, ring).load() == grant()


async def test_the_systems_keyring_is_used_when_it_keeps(monkeypatch: pytest.MonkeyPatch) -> None:
    before = keyring.get_keyring()
    ring = Ring()
    try:
        keyring.set_keyring(ring)
        assert system_keyring() is ring
        from keyring.backends import fail

        keyring.set_keyring(fail.Keyring())  # type: ignore[no-untyped-call]
        assert system_keyring() is None
    finally:
        keyring.set_keyring(before)
    monkeypatch.setitem(__import__("sys").modules, "keyring", None)
    assert system_keyring() is None


async def test_a_file_others_can_read_is_refused(tmp_path: Path) -> None:
    """C21."""
    kept = store(tmp_path)
    await kept.save(grant())
    (file,) = files(tmp_path)
    file.chmod(0o644)
    with pytest.raises(UnsafeFileError):
        await kept.load()
    moved = file.with_suffix(".moved")
    file.rename(moved)
    moved.chmod(0o600)
    file.symlink_to(moved)
    with pytest.raises(UnsafeFileError):
        await kept.load()


@pytest.mark.parametrize(
    "change",
    [
        {"server": "https://evil.example/mcp"},
        {"token_endpoint": "http://evil.example/token"},
        {"token_endpoint": 7},
        {"revocation_endpoint": "file:///x"},
        {"access": "a b"},
        {"expires": "soon"},
        {"kept": "elsewhere"},
    ],
)
async def test_a_file_that_does_not_fit_is_no_login(tmp_path: Path, change: object) -> None:
    kept = store(tmp_path)
    await kept.save(grant())
    (file,) = files(tmp_path)
    assert isinstance(change, dict)
    file.write_text(json.dumps(json.loads(file.read_text()) | change))
    assert await kept.load() is None
    file.write_text("{")
    assert await kept.load() is None


async def test_each_server_has_its_own(tmp_path: Path) -> None:
    other = WebUrl.parse("https://relay.example/t/a/c/mcp")
    await store(tmp_path).save(grant())
    assert await store(tmp_path, server=other).load() is None


async def test_one_holds_the_lock_at_a_time(tmp_path: Path) -> None:
    with anyio.fail_after(10):
        async with store(tmp_path).locked(1.0):
            with pytest.raises(ConnectBusyError):
                async with store(tmp_path).locked(0.0):
                    pass
        async with store(tmp_path).locked(0.0):
            pass
