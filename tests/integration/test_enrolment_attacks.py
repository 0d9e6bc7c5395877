"""Who may join: attack row T06 over raw HTTP to the running relay."""

import asyncio
import itertools
from typing import Any

import pytest

from shared.ids import JOIN_PREFIX, new_token
from shared.keys import encode_public
from tests.helpers.raw_link import Member
from tests.helpers.tunnel import TUNNEL
from tests.integration.hostile import Stage, enrol, patiently

pytestmark = [pytest.mark.system, pytest.mark.asyncio(loop_scope="session")]


async def test_t06_one_of_twenty_racers_joins(stage: Stage) -> None:
    made = await stage.scene.lab.relay_json("tunnel", "rotate", TUNNEL)
    racers = [Member() for _ in range(20)]
    replies = await asyncio.gather(
        *(enrol(stage.port, made["join_code"], racer) for racer in racers)
    )
    statuses = [reply.status for reply in replies]
    assert statuses.count(200) == 1, statuses
    assert set(statuses) <= {200, 401, 429}
    winner = racers[statuses.index(200)]
    assert (await stage.instance(winner))["locked"] is None
    after = await patiently(lambda: enrol(stage.port, made["join_code"], Member()))
    assert after.status == 401


async def test_t06_every_bad_code_gets_the_same_answer(stage: Stage) -> None:
    used = (await stage.scene.lab.relay_json("tunnel", "rotate", TUNNEL))["join_code"]
    assert (await patiently(lambda: enrol(stage.port, used, Member()))).status == 200
    replaced = (await stage.scene.lab.relay_json("tunnel", "rotate", TUNNEL))["join_code"]
    await stage.scene.lab.relay_json("tunnel", "rotate", TUNNEL)
    codes = (used, replaced, new_token(JOIN_PREFIX), "", "mtj_", "x" * 100)
    replies = [
        await patiently(lambda code=code: enrol(stage.port, code, Member()))  # type: ignore[misc]
        for code in codes
    ]
    assert {reply.status for reply in replies} == {401}
    assert len({reply.body for reply in replies}) == 1
    log = stage.scene.log("relay.log")
    for code in codes[:3]:
        assert code not in log


async def test_t06_guessing_is_slowed_down_whatever_address_is_claimed(stage: Stage) -> None:
    for number in itertools.count():
        assert number < 300
        claimed = [("X-Forwarded-For", f"203.0.113.{number % 250}"), ("Forwarded", f"for={number}")]
        code = new_token(JOIN_PREFIX)
        replies = await asyncio.gather(
            *(enrol(stage.port, code, Member(), claimed) for _ in range(10))
        )
        slowed = [reply for reply in replies if reply.status == 429]
        if slowed:
            assert int(slowed[0].values("retry-after")[0]) >= 1
            break
    await stage.alive()


@pytest.mark.parametrize(
    "wrong",
    [
        {"public_key": "x"},
        {"public_key": encode_public(bytes(32))[:-1] + "B"},
        {"instance": "../../etc"},
        {"instance": "A" * 32},
        {"origin": "wss://evil.example"},
        {"host": {"name": 5}},
        {"host": []},
        {"more": 1},
        {"join_code": None},
    ],
)
async def test_malformed_enrolments_use_no_code_up(stage: Stage, wrong: dict[str, Any]) -> None:
    made = await stage.scene.lab.relay_json("tunnel", "rotate", TUNNEL)
    code, member = made["join_code"], Member()
    reply = await patiently(lambda: enrol(stage.port, code, member, **wrong))
    assert reply.status == 400
    assert (await patiently(lambda: enrol(stage.port, code, member))).status == 200


async def test_an_enrolment_from_a_browser_is_refused(stage: Stage) -> None:
    headers = [("Origin", "https://evil.example")]
    reply = await patiently(lambda: enrol(stage.port, "x", Member(), headers))
    assert reply.status == 403
