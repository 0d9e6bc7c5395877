"""Who may enrol, and who may open a link."""

import asyncio
from pathlib import Path

import pytest

from shared.errors import FINAL_CLOSE_CODES, CloseCode
from shared.ids import JOIN_PREFIX, new_id, new_token
from shared.keys import PrivateKey, decode_public, encode_public
from tests.tunnel_relay.making import ORIGIN, RecordedLinks, an_admin
from tunnel_relay.admin.service import Admin
from tunnel_relay.errors import Code, RelayError
from tunnel_relay.keyfiles import read_relay_key
from tunnel_relay.store.base import Verdict

HOST = {"name": "build-7", "platform": "Linux", "version": "0.1.0"}


def a_key() -> str:
    return encode_public(PrivateKey.generate().public)


async def enrolled(admin: Admin) -> str:
    code = (await admin.tunnel_create("office", "alice"))["join_code"]
    instance = new_id()
    await admin.enroll(code, a_key(), instance, ORIGIN, HOST)
    return instance


async def refused(admin: Admin, code: str, **changed: str) -> tuple[Code, str]:
    wanted = {"public_key": a_key(), "instance": new_id(), "origin": ORIGIN} | changed
    with pytest.raises(RelayError) as caught:
        await admin.enroll(code, host=HOST, **wanted)
    return caught.value.code, caught.value.message


async def test_a_join_code_makes_a_client_known(tmp_path: Path) -> None:
    async with an_admin(tmp_path) as admin:
        code = (await admin.tunnel_create("office", "alice"))["join_code"]
        key, instance = PrivateKey.generate(), new_id()
        answer = await admin.enroll(code, encode_public(key.public), instance, ORIGIN, HOST)
        pinned = read_relay_key(tmp_path / "state" / "relay.key").public
        assert answer == {"tunnel": "office", "relay_key": encode_public(pinned)}
        assert decode_public(answer["relay_key"]) == pinned
        assert await admin.find_key("office", instance) == key.public
        assert await admin.find_key("other", instance) is None
        assert await admin.find_key("office", new_id()) is None
        [client] = (await admin.tunnel_show("office"))["instances"]
        assert client["host"] == "build-7 Linux 0.1.0"


async def test_every_useless_code_gets_the_same_refusal(tmp_path: Path) -> None:
    async with an_admin(tmp_path) as admin:
        used = (await admin.tunnel_create("office", "alice"))["join_code"]
        await admin.enroll(used, a_key(), new_id(), ORIGIN, HOST)
        replaced = (await admin.tunnel_create("home", "alice"))["join_code"]
        disabled = (await admin.tunnel_rotate("home"))["join_code"]
        await admin.tunnel_disable("home")
        expired = (await admin.tunnel_create("shop", "alice"))["join_code"]
        taken = (await admin.tunnel_create("barn", "alice"))["join_code"]
        [client] = (await admin.tunnel_show("office"))["instances"]
        answers = {await refused(admin, taken, instance=client["id"])}
        admin._admissions._clock = lambda: admin.clock() + 3600
        for code in (used, replaced, disabled, expired, new_token(JOIN_PREFIX), "", "x" * 500):
            answers.add(await refused(admin, code))
        assert answers == {(Code.JOIN_REFUSED, "the join code was not accepted")}


async def test_of_twenty_clients_with_one_code_exactly_one_gets_in(tmp_path: Path) -> None:
    async with an_admin(tmp_path) as admin:
        code = (await admin.tunnel_create("office", "alice"))["join_code"]
        attempts = (admin.enroll(code, a_key(), new_id(), ORIGIN, HOST) for _ in range(20))
        outcomes = await asyncio.gather(*attempts, return_exceptions=True)
        won = [each for each in outcomes if isinstance(each, dict)]
        lost = [each.code for each in outcomes if isinstance(each, RelayError)]
        assert len(won) == 1
        assert lost == [Code.JOIN_REFUSED] * 19
        assert len((await admin.tunnel_show("office"))["instances"]) == 1


@pytest.mark.parametrize(
    "changed",
    [
        {"public_key": "x"},
        {"public_key": ""},
        {"instance": "../../etc"},
        {"instance": ""},
        {"origin": "wss://evil.example"},
        {"origin": ""},
    ],
)
async def test_what_is_malformed_does_not_use_up_the_code(
    tmp_path: Path, changed: dict[str, str]
) -> None:
    async with an_admin(tmp_path) as admin:
        code = (await admin.tunnel_create("office", "alice"))["join_code"]
        assert (await refused(admin, code, **changed))[0] is Code.BAD_REQUEST
        await admin.enroll(code, a_key(), new_id(), ORIGIN, HOST)


async def test_what_a_client_says_of_its_host_is_one_harmless_line(tmp_path: Path) -> None:
    async with an_admin(tmp_path) as admin:
        code = (await admin.tunnel_create("office", "alice"))["join_code"]
        host = {"name": "a\nb\x1b[31m\u202e" + "x" * 500, "other": "ignored"}
        await admin.enroll(code, a_key(), new_id(), ORIGIN, host)
        [client] = (await admin.tunnel_show("office"))["instances"]
        assert client["host"].startswith("ab[31mxxx")
        assert len(client["host"]) == 60


async def test_a_growing_counter_is_admitted(tmp_path: Path) -> None:
    async with an_admin(tmp_path) as admin:
        instance = await enrolled(admin)
        for counter in (1, 2, 10):
            assert (await admin.admit("office", instance, counter)).admitted


@pytest.mark.parametrize("counter", [-1, 0, 2**63, 2**200])
async def test_a_counter_out_of_range_is_refused_and_locks_nothing(
    tmp_path: Path, counter: int
) -> None:
    async with an_admin(tmp_path) as admin:
        instance = await enrolled(admin)
        assert (await admin.admit("office", instance, counter)).verdict is Verdict.UNKNOWN
        assert (await admin.admit("office", instance, 1)).admitted


async def test_a_clone_locks_the_key_for_both_and_ends_the_live_link(tmp_path: Path) -> None:
    async with an_admin(tmp_path) as admin:
        links = admin.links = RecordedLinks()
        instance = await enrolled(admin)
        await admin.admit("office", instance, 5)
        clone = await admin.admit("office", instance, 5)
        assert (clone.admitted, clone.close_code) == (False, CloseCode.REPLACED)
        assert clone.close_code == 4409
        assert links.told == [("close_instance", instance, CloseCode.REPLACED)]
        for counter in (4, 6, 100):
            again = await admin.admit("office", instance, counter)
            assert again.verdict is Verdict.LOCKED
            assert again.close_code in FINAL_CLOSE_CODES
        [client] = (await admin.tunnel_show("office"))["instances"]
        assert "two machines" in client["locked"]
    async with an_admin(tmp_path) as admin:
        assert (await admin.admit("office", instance, 101)).verdict is Verdict.LOCKED


async def test_a_locked_key_stands_in_every_list_until_the_machine_is_enrolled_again(
    tmp_path: Path,
) -> None:
    async def told(admin: Admin) -> tuple[bool, bool, list[str]]:
        [listed] = await admin.tunnel_list()
        shown = await admin.tunnel_show("office")
        return listed["cloned"], shown["cloned"], (await admin.status())["cloned"]

    async with an_admin(tmp_path) as admin:
        instance = await enrolled(admin)
        await admin.admit("office", instance, 5)
        assert await told(admin) == (False, False, [])
        await admin.admit("office", instance, 5)
        assert await told(admin) == (True, True, ["office"])
    async with an_admin(tmp_path) as admin:
        assert await told(admin) == (True, True, ["office"])
        code = (await admin.tunnel_rotate("office"))["join_code"]
        assert await told(admin) == (True, True, ["office"])
        again = new_id()
        await admin.enroll(code, a_key(), again, ORIGIN, HOST)
        assert await told(admin) == (False, False, [])
    async with an_admin(tmp_path) as admin:
        assert await told(admin) == (False, False, [])
        for _ in range(2):
            await admin.admit("office", again, 1)
        assert await told(admin) == (True, True, ["office"])
        await admin.tunnel_rotate("office", drop_instances=True)
        assert await told(admin) == (False, False, [])


async def test_a_disabled_or_unknown_client_is_refused(tmp_path: Path) -> None:
    async with an_admin(tmp_path) as admin:
        instance = await enrolled(admin)
        assert (await admin.admit("office", new_id(), 1)).close_code is CloseCode.POLICY
        assert (await admin.admit("x" * 99, instance, 1)).verdict is Verdict.UNKNOWN
        assert (await admin.admit("office", "'; --", 1)).verdict is Verdict.UNKNOWN
        await admin.tunnel_disable("office")
        assert (await admin.admit("office", instance, 1)).close_code is CloseCode.REVOKED
        await admin.tunnel_enable("office")
        assert (await admin.admit("office", instance, 1)).admitted


async def test_rotating_with_dropped_clients_forgets_their_keys(tmp_path: Path) -> None:
    async with an_admin(tmp_path) as admin:
        links = admin.links = RecordedLinks()
        instance = await enrolled(admin)
        await admin.tunnel_rotate("office")
        assert await admin.find_key("office", instance)
        assert admin.may_connect("office", instance)
        made = await admin.tunnel_rotate("office", drop_instances=True)
        assert links.told == [("close_tunnel", "office", CloseCode.REVOKED)]
        assert await admin.find_key("office", instance) is None
        assert not admin.may_connect("office", instance)
        assert (await admin.admit("office", instance, 9)).verdict is Verdict.UNKNOWN
        await admin.enroll(made["join_code"], a_key(), new_id(), ORIGIN, HOST)


async def test_who_enrolled_at_the_relay_before_this_one_is_known_once_it_connects(
    tmp_path: Path,
) -> None:
    async with an_admin(tmp_path) as admin:
        instance = await enrolled(admin)
        admin._admissions._enrolled.clear()  # as when both relays ran at that moment
        assert not admin.may_connect("office", instance)
        assert (await admin.admit("office", instance, 1)).admitted
        assert admin.may_connect("office", instance)


async def test_memory_knows_whose_key_would_be_refused(tmp_path: Path) -> None:
    """Calls of MCP sessions that it holds wait for nobody then."""
    async with an_admin(tmp_path) as admin:
        instance, copied = await enrolled(admin), new_id()
        made = await admin.tunnel_rotate("office")
        await admin.enroll(made["join_code"], a_key(), copied, ORIGIN, HOST)
        for _ in range(2):
            await admin.admit("office", copied, 1)
        known = [admin.may_connect("office", each) for each in (instance, copied, new_id())]
        assert known == [True, False, False]
    async with an_admin(tmp_path) as admin:
        assert [admin.may_connect("office", each) for each in (instance, copied)] == [True, False]
        lock = await admin.lock_add("key", instance, "a laptop was lost")
        assert not admin.may_connect("office", instance)
        await admin.lock_remove(lock["lock"]["id"])
        assert admin.may_connect("office", instance)
        await admin.tunnel_delete("office")
        assert not admin.may_connect("office", instance)
