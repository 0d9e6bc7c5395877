"""Secrets of a KV store of version 2, with a token or an AppRole."""

import asyncio
import json

import pytest
from pydantic import SecretStr

from tests.helpers.consented import make_consented
from tests.tunnel_client.credentials.support import (
    CANARY,
    asked,
    echo,
    serving,
    upstream_settings,
)
from tests.tunnel_client.upstream.http_support import RawServer, Seen, raw_server
from tunnel_client.credentials.settings import VaultSettings
from tunnel_client.credentials.vault import Vault
from tunnel_client.errors import SettingsError
from tunnel_client.errors_upstreams import CredentialError

TOKEN = "cnry-vault-5Jt9Rw2Bx8"


class Store:
    """What one store holds."""

    def __init__(self) -> None:
        self.values = {"/v1/secret/data/crm": {"key": CANARY}}
        self.lease = 3600
        self.logins = 0

    async def __call__(self, seen: Seen, writer: asyncio.StreamWriter) -> None:
        path = seen.start.split()[1].decode()
        if path == "/v1/auth/approle/login":
            self.logins += 1
            good = json.loads(seen.body) == {"role_id": "role", "secret_id": "cnry-id-77"}
            given = {"auth": {"client_token": TOKEN, "lease_duration": self.lease}}
            self._write(writer, given if good else None)
        elif seen.header(b"x-vault-token") != TOKEN.encode():
            self._write(writer, None)
        else:
            found = self.values.get(path)
            self._write(writer, None if found is None else {"data": {"data": found}})

    def _write(self, writer: asyncio.StreamWriter, document: object) -> None:
        body = json.dumps(document or {"errors": [f"permission denied for {TOKEN}"]}).encode()
        status = b"200 OK" if document else b"403 No"
        writer.write(b"HTTP/1.1 %b\r\nContent-Length: %d\r\n\r\n%b" % (status, len(body), body))


def settings(server: RawServer, **login: str) -> VaultSettings:
    given = login or {"token": "env:VAULT_TOKEN"}
    return VaultSettings.model_validate({"address": f"http://127.0.0.1:{server.port}/", **given})


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
        login = {"role_id": SecretStr("role"), "secret_id": SecretStr("cnry-id-77")}
        made = settings(server, role_id="env:R", secret_id="env:S")
        vault = Vault(made, login, lambda: time[0])
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
        vault = Vault(settings(server), {"token": SecretStr(token)}, lambda: 0.0)
        with pytest.raises(CredentialError) as caught:
            await vault.read(path, field)
    assert why in str(caught.value)
    assert TOKEN not in str(caught.value)
