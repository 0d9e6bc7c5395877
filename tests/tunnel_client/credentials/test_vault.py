"""Secrets of a KV store of version 2, with a token or an AppRole."""

import asyncio
import json
from pathlib import Path

import pytest
from pydantic import SecretStr
from structlog.testing import capture_logs

from tests.helpers.consented import make_consented
from tests.tunnel_client.credentials.support import (
    CANARY,
    asked,
    echo,
    secret_file,
    serving,
    upstream_settings,
)
from tests.tunnel_client.upstream.http_support import RawServer, Seen, eventually, raw_server
from tunnel_client.credentials.settings import VaultSettings
from tunnel_client.credentials.vault import Vault
from tunnel_client.errors import SettingsError
from tunnel_client.errors_upstreams import CredentialError
from tunnel_client.reload import read_again

TOKEN = "cnry-vault-5Jt9Rw2Bx8"
NEWER = "cnry-vault-8Kd3Qm6Zp1"
ROLE = {"role_id": SecretStr("role"), "secret_id": SecretStr("cnry-id-77")}


class Store:
    """What one store holds."""

    def __init__(self) -> None:
        self.values = {"/v1/secret/data/crm": {"key": CANARY}}
        self.lease = 3600
        self.logins = 0
        self.token = TOKEN
        """The one that is good now; a login gives it out."""
        self.secret_id = "cnry-id-77"
        self.reads = 0

    async def __call__(self, seen: Seen, writer: asyncio.StreamWriter) -> None:
        path = seen.start.split()[1].decode()
        if path == "/v1/auth/approle/login":
            self.logins += 1
            good = json.loads(seen.body) == {"role_id": "role", "secret_id": self.secret_id}
            given = {"auth": {"client_token": self.token, "lease_duration": self.lease}}
            self._write(writer, given if good else None)
        else:
            self.reads += 1
            known = seen.header(b"x-vault-token") == self.token.encode()
            found = self.values.get(path) if known else None
            self._write(writer, None if found is None else {"data": {"data": found}})

    def _write(self, writer: asyncio.StreamWriter, document: object) -> None:
        body = json.dumps(document or {"errors": [f"permission denied for {TOKEN}"]}).encode()
        status = b"200 OK" if document else b"403 No"
        writer.write(b"HTTP/1.1 %b\r\nContent-Length: %d\r\n\r\n%b" % (status, len(body), body))


def settings(server: RawServer, **login: str) -> VaultSettings:
    given = login or {"token": "env:VAULT_TOKEN"}
    return VaultSettings.model_validate({"address": f"http://127.0.0.1:{server.port}/", **given})


def role(server: RawServer) -> VaultSettings:
    return settings(server, role_id="env:R", secret_id="env:S")


async def test_an_upstreams_secret_may_be_in_a_vault() -> None:
    async with raw_server(Store()) as vault, raw_server(echo) as server:
        given = upstream_settings(server.url, kind="bearer", value="vault:secret/crm#key")
        async with serving(given, {"VAULT_TOKEN": TOKEN}, settings(vault)) as upstream:
            for _ in range(3):
                reply = await asked(upstream)
                assert reply.status == 200
                assert CANARY.encode() not in reply.body
        assert len(vault.seen) == 1
        with pytest.raises(SettingsError, match="\\[vault\\] is missing"):
            make_consented(given, {})


async def test_a_role_logs_in_once_and_again_before_its_token_ends() -> None:
    time = [0.0]
    store = Store()
    async with raw_server(store) as server:
        vault = Vault(role(server), lambda: ROLE, lambda: time[0])
        secrets = await asyncio.gather(*(vault.read("secret/crm", "key") for _ in range(4)))
        assert {secret.get_secret_value() for secret in secrets} == {CANARY}
        assert store.logins == 1
        time[0] = 3580
        await vault.read("secret/crm", "key")
        assert store.logins == 2


@pytest.mark.parametrize(
    ("path", "field", "token", "why"),
    [
        ("secret/none", "key", TOKEN, "status 403"),
        ("secret/crm", "none", TOKEN, "no such field"),
        ("secret/crm", "key", "wrong", "status 403"),
    ],
)
async def test_what_cannot_be_had_is_told_by_kind(
    path: str, field: str, token: str, why: str
) -> None:
    """Row C12."""
    async with raw_server(Store()) as server:
        vault = Vault(settings(server), lambda: {"token": SecretStr(token)}, lambda: 0.0)
        with pytest.raises(CredentialError) as caught:
            await vault.read(path, field)
    assert why in str(caught.value)
    assert TOKEN not in str(caught.value)


async def test_a_token_that_is_refused_is_read_anew_where_it_lies() -> None:
    """An agent of the vault writes another one into the file before the old one ends."""
    store, lies = Store(), [TOKEN]
    async with raw_server(store) as server:
        vault = Vault(settings(server), lambda: {"token": SecretStr(lies[0])}, lambda: 0.0)
        await vault.read("secret/crm", "key")
        store.token = NEWER
        for asked_before in (1, 2):
            with pytest.raises(CredentialError, match="status 403"):
                await vault.read("secret/crm", "key")
            assert store.reads == 1 + asked_before, "the same token is not sent twice for one read"
        lies[0] = NEWER
        assert (await vault.read("secret/crm", "key")).get_secret_value() == CANARY
        store.reads = 0
        await vault.read("secret/crm", "key")
        assert store.reads == 1, "the new token is kept"


async def test_a_role_whose_token_is_revoked_logs_in_once_for_all_who_read() -> None:
    store = Store()
    async with raw_server(store) as server:
        vault = Vault(role(server), lambda: ROLE, lambda: 0.0)
        await vault.read("secret/crm", "key")
        for token in (NEWER, TOKEN):
            store.token, before = token, store.logins
            found = await asyncio.gather(*(vault.read("secret/crm", "key") for _ in range(8)))
            assert {secret.get_secret_value() for secret in found} == {CANARY}
            assert store.logins == before + 1


async def test_a_path_that_no_login_opens_brings_no_storm_of_logins() -> None:
    store, time = Store(), [0.0]
    async with raw_server(store) as server:
        vault = Vault(role(server), lambda: ROLE, lambda: time[0])

        async def refused() -> int:
            reads = (vault.read("secret/none", "key") for _ in range(4))
            for error in await asyncio.gather(*reads, return_exceptions=True):
                assert isinstance(error, CredentialError)
                assert "status 403" in error.cause
            return store.logins

        assert await refused() == 2, "the first login, and one more when its token was refused"
        assert await refused() == 2, "a moment later it is not tried"
        time[0] = 0.6
        assert await refused() == 3
        time[0] = 1.2
        assert await refused() == 3, "the pauses grow"
        await vault.read("secret/crm", "key")
        assert store.logins == 3, "other paths are read as before"


async def test_a_login_that_failed_is_not_tried_again_by_each_who_waits() -> None:
    store, time = Store(), [0.0]
    store.secret_id = "another"
    async with raw_server(store) as server:
        vault = Vault(role(server), lambda: ROLE, lambda: time[0])
        reads = (vault.read("secret/crm", "key") for _ in range(8))
        for error in await asyncio.gather(*reads, return_exceptions=True):
            assert isinstance(error, CredentialError)
            assert "status 403" in error.cause
        assert store.logins == 1
        store.secret_id = "cnry-id-77"
        time[0] = 0.6
        assert (await vault.read("secret/crm", "key")).get_secret_value() == CANARY
        assert store.logins == 2


async def test_a_login_that_fails_for_one_path_leaves_the_token_to_the_others() -> None:
    store, time = Store(), [0.0]
    async with raw_server(store) as server:
        vault = Vault(role(server), lambda: ROLE, lambda: time[0])
        await vault.read("secret/crm", "key")
        store.secret_id = "used up"
        for time[0], logins in ((0.0, 2), (0.1, 2), (0.6, 3), (1.5, 3)):
            with pytest.raises(CredentialError, match="status 403"):
                await vault.read("secret/users/ada", "key")
            assert (await vault.read("secret/crm", "key")).get_secret_value() == CANARY
            assert store.logins == logins


async def test_a_path_that_no_login_opens_keeps_no_other_path_from_a_login() -> None:
    """What was opened before and is refused now is so because the token is over."""
    store = Store()
    async with raw_server(store) as server:
        vault = Vault(role(server), lambda: ROLE, lambda: 0.0)
        await vault.read("secret/crm", "key")
        with pytest.raises(CredentialError):
            await vault.read("secret/users/ada", "key")
        assert store.logins == 2
        store.token = NEWER
        assert (await vault.read("secret/crm", "key")).get_secret_value() == CANARY
        assert store.logins == 3


async def test_a_path_that_is_opened_no_longer_is_logged_in_for_once() -> None:
    store, time = Store(), [0.0]
    async with raw_server(store) as server:
        vault = Vault(role(server), lambda: ROLE, lambda: time[0])
        await vault.read("secret/crm", "key")
        del store.values["/v1/secret/data/crm"]
        for time[0], logins in ((0.0, 2), (0.1, 2), (0.6, 3), (1.5, 3), (1.7, 4)):
            reads = (vault.read("secret/crm", "key") for _ in range(4))
            for error in await asyncio.gather(*reads, return_exceptions=True):
                assert isinstance(error, CredentialError)
            assert store.logins == logins


async def test_a_token_near_its_end_serves_on_while_no_login_succeeds() -> None:
    store, time = Store(), [0.0]
    async with raw_server(store) as server:
        vault = Vault(role(server), lambda: ROLE, lambda: time[0])
        await vault.read("secret/crm", "key")
        store.secret_id = "used up"
        with capture_logs() as logs:
            for time[0], logins in ((3580, 2), (3580.1, 2), (3580.6, 3)):
                assert (await vault.read("secret/crm", "key")).get_secret_value() == CANARY
                assert store.logins == logins
        assert [line["reason"] for line in logs] == ["it answers with status 403"] * 2
        store.token = NEWER
        with pytest.raises(CredentialError, match="status 403"):
            await vault.read("secret/crm", "key")


async def test_a_reload_drops_no_token_before_a_login_gave_another() -> None:
    store, lies, time = Store(), dict(ROLE), [0.0]
    async with raw_server(store) as server:
        vault = Vault(role(server), lambda: lies, lambda: time[0])
        await vault.read("secret/crm", "key")
        lies["secret_id"] = SecretStr("mistyped")
        for logins in (2, 3):
            vault.read_again()
            for _ in range(2):
                assert (await vault.read("secret/crm", "key")).get_secret_value() == CANARY
                assert store.logins == logins, "tried at once, and not by each who reads"
        lies["secret_id"] = SecretStr("cnry-id-77")
        vault.read_again()
        await vault.read("secret/crm", "key")
        await vault.read("secret/crm", "key")
        assert store.logins == 4


async def test_a_login_that_cannot_be_read_leaves_the_token_in_use() -> None:
    store, time = Store(), [0.0]
    lies = [ROLE, ROLE]  # for the start and for the first login
    async with raw_server(store) as server:

        def login() -> dict[str, SecretStr]:
            if not lies:
                raise SettingsError("too open")
            return lies.pop()

        vault = Vault(role(server), login, lambda: time[0])
        await vault.read("secret/crm", "key")
        with pytest.raises(SettingsError):
            await vault.read("secret/users/ada", "key")
        time[0] = 3580
        assert (await vault.read("secret/crm", "key")).get_secret_value() == CANARY


async def test_only_so_many_paths_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tunnel_client.credentials.vault._MOST_OPENED", 3)
    store = Store()
    names = [f"crm{number}" for number in range(5)]
    store.values = {f"/v1/secret/data/{name}": {"key": CANARY} for name in names}
    async with raw_server(store) as server:
        vault = Vault(role(server), lambda: ROLE, lambda: 0.0)
        for name in names:
            await vault.read(f"secret/{name}", "key")
        with pytest.raises(CredentialError):
            await vault.read("secret/users/ada", "key")
        store.token, before = NEWER, store.logins
        with pytest.raises(CredentialError):
            await vault.read("secret/crm0", "key")
        assert store.logins == before, "the one that was read longest ago is forgotten"
        await vault.read("secret/crm4", "key")
        assert store.logins == before + 1


async def test_a_secret_id_that_was_replaced_is_used_for_the_next_login() -> None:
    store, lies = Store(), dict(ROLE)
    async with raw_server(store) as server:
        vault = Vault(role(server), lambda: lies, lambda: 0.0)
        await vault.read("secret/crm", "key")
        store.token, store.secret_id = NEWER, "cnry-id-88"
        lies["secret_id"] = SecretStr("cnry-id-88")
        assert (await vault.read("secret/crm", "key")).get_secret_value() == CANARY


async def test_a_reload_reads_the_login_anew_and_keeps_it_when_it_cannot(tmp_path: Path) -> None:
    store = Store()
    async with raw_server(store) as server, raw_server(echo) as behind:
        token = secret_file(tmp_path, TOKEN, "vault-token")
        given = upstream_settings(behind.url, kind="bearer", value="vault:secret/crm#key")
        async with serving(given, {}, settings(server, token=token)) as upstream:
            assert (await asked(upstream)).status == 200
            (tmp_path / "vault-token").chmod(0o644)
            assert not await read_again([given], {"private": upstream})
            assert (await asked(upstream)).status == 200
            assert store.reads == 1, "nothing was fetched by a login we should not use"
            (tmp_path / "vault-token").chmod(0o600)
            # The old one would still be taken: that it is not used shows that it was dropped.
            secret_file(tmp_path, NEWER, "vault-token")
            assert await read_again([given], {"private": upstream})
            await eventually(lambda: store.reads == 2)
            assert server.seen[-1].header(b"x-vault-token") == NEWER.encode()
