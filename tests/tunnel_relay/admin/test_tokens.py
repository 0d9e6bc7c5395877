"""Admin tokens are shown once, bounded, and end when they should; restarts change nothing."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from shared.ids import token_digest
from tests.tunnel_relay.making import an_admin
from tunnel_relay.admin import tokens
from tunnel_relay.admin.acting import acting
from tunnel_relay.admin.service import Admin
from tunnel_relay.errors import Code, RelayError
from tunnel_relay.store.base import Role, StoreError


async def refused(awaitable: object) -> Code:
    with pytest.raises(RelayError) as caught:
        await awaitable  # type: ignore[misc] # a coroutine of any kind
    return caught.value.code


def found(admin: Admin, token: str) -> bool:
    return admin.admin_tokens.find(token, admin.clock()) is not None


async def test_a_token_is_shown_once_and_outlives_a_restart(tmp_path: Path) -> None:
    async with an_admin(tmp_path) as admin:
        await admin.user_add("ada", roles=["admin"])
        made = await admin.user_token("ada", ttl=60.0, name="backup")
        assert made["token"].startswith("mta_")
        shown = [await admin.user_tokens(), await admin.user_tokens("ada")]
        assert shown[0] == shown[1] == [made["admin_token"]]
        assert made["token"] not in str(shown)
        assert made["admin_token"]["expires"] - made["admin_token"]["created"] == 60
    async with an_admin(tmp_path) as admin:
        assert found(admin, made["token"])
        database = (tmp_path / "state" / "relay.db").read_bytes()
        assert made["token"].encode() not in database
        assert token_digest(made["token"])


async def test_a_revoked_token_stays_revoked(tmp_path: Path) -> None:
    async with an_admin(tmp_path) as admin:
        await admin.user_add("ada")
        made = await admin.user_token("ada")
        which = made["admin_token"]["id"]
        assert await refused(admin.user_token_revoke(which[:5])) is Code.TOKEN_UNKNOWN
        assert (await admin.user_token_revoke(which[:8]))["stored"]
        assert not found(admin, made["token"])
        assert await refused(admin.user_token_revoke(which)) is Code.TOKEN_UNKNOWN
    async with an_admin(tmp_path) as admin:
        assert not found(admin, made["token"])


async def test_disabling_a_user_ends_their_tokens_for_good(tmp_path: Path) -> None:
    async with an_admin(tmp_path) as admin:
        for user in ("ada", "abe"):
            await admin.user_add(user)
        made, other = await admin.user_token("ada"), await admin.user_token("abe")
        await admin.user_disable("ada")
        await admin.user_enable("ada")
        assert not found(admin, made["token"])
        assert found(admin, other["token"])
    async with an_admin(tmp_path) as admin:
        assert not found(admin, made["token"])
        assert found(admin, other["token"])


async def test_who_may_have_one_and_for_how_long(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with an_admin(tmp_path) as admin:
        await admin.user_add("ada", roles=["admin"])
        await admin.user_add("bob")
        assert await refused(admin.user_token("nobody")) is Code.USER_UNKNOWN
        for ttl in (0.0, -1.0, tokens.MAX_TTL + 1, float("nan")):
            assert await refused(admin.user_token("ada", ttl=ttl)) is Code.BAD_DURATION
        with acting("ada", frozenset((Role.ADMIN,))):
            assert await refused(admin.user_token("bob")) is Code.NOT_PERMITTED
            await admin.user_token("ada")
        monkeypatch.setattr(tokens, "MAX_TOKENS", 2)
        await admin.user_token("ada")
        assert await refused(admin.user_token("ada")) is Code.BAD_REQUEST
        await admin.user_disable("bob")
        assert await refused(admin.user_token("bob")) is Code.USER_DISABLED


async def test_a_user_disabled_while_the_token_was_stored_gets_none(tmp_path: Path) -> None:
    async with an_admin(tmp_path) as admin:
        await admin.user_add("ada")
        store, add = admin.store, admin.store.add_admin_token

        async def slow(token: object) -> None:
            await add(token)  # type: ignore[arg-type] # passed through
            await admin.user_disable("ada")

        store.add_admin_token = slow  # type: ignore[method-assign] # the moment between
        assert await refused(admin.user_token("ada")) is Code.USER_DISABLED
        assert await store.admin_tokens() == []


async def test_what_cannot_be_stored_holds_and_is_tried_again(tmp_path: Path) -> None:
    async with an_admin(tmp_path) as admin:
        await admin.user_add("ada")
        made = await admin.user_token("ada")

        remove, full = admin.store.remove_admin_tokens, True

        async def may_fail(tokens: Sequence[str]) -> None:
            if full:
                raise StoreError("disk full")
            await remove(tokens)

        admin.store.remove_admin_tokens = may_fail  # type: ignore[method-assign] # a full disk
        done = await admin.user_token_revoke(made["admin_token"]["id"])
        full = False
        assert not done["stored"]
        assert not found(admin, made["token"])
        await admin.flush_last_used()
        assert await admin.store.admin_tokens() == []
