"""One fetch for all who wait, renewed ahead of its end, paused after failures."""

import asyncio
from typing import Any

import pytest
from pydantic import SecretStr
from structlog.testing import capture_logs

from tests.tunnel_client.credentials.support import CANARY
from tests.tunnel_client.upstream.http_support import eventually
from tunnel_client.credentials.keeper import MAX_USERS, MAX_WAITING, Fetched, Keeper, Keepers
from tunnel_client.credentials.scrub import MASK
from tunnel_client.credentials.settings import CredentialSettings
from tunnel_client.errors_upstreams import CredentialError

SETTINGS = CredentialSettings.model_validate(
    {"origin": "http://h:80", "kind": "bearer", "value": "env:X"}
)
NEWER = "cnry-newer-3Xk8Vb1Nq7"


class Source:
    """Answers each fetch when told to; a clock that the test moves."""

    def __init__(self) -> None:
        self.time = 100.0
        self.fetches = 0
        self.answers: asyncio.Queue[Fetched | Exception] = asyncio.Queue()

    async def fetch(self) -> Fetched:
        self.fetches += 1
        answer = await self.answers.get()
        if isinstance(answer, Exception):
            raise answer
        return answer

    def keeper(self, settings: CredentialSettings = SETTINGS) -> Keeper:
        return Keeper("crm", settings, self.fetch, lambda: self.time)

    def give(self, secret: str = CANARY, seconds: float | None = 100.0) -> None:
        self.answers.put_nowait((SecretStr(secret), seconds))


async def settled(keeper: Keeper) -> None:
    await eventually(lambda: not keeper.busy)


async def test_all_who_wait_share_one_fetch() -> None:
    source = Source()
    keeper = source.keeper()
    told: list[bool] = []
    assert keeper.current() is None
    for _ in range(20):
        assert keeper.wait(told.append)
    source.give()
    await settled(keeper)
    assert told == [True] * 20
    assert source.fetches == 1
    held = keeper.current()
    assert held is not None
    assert held.headers == [(b"authorization", f"Bearer {CANARY}".encode())]
    assert CANARY not in repr(held)


async def test_it_is_renewed_ahead_of_its_end_while_the_old_one_serves() -> None:
    source = Source()
    keeper = source.keeper()
    keeper.wait(lambda good: None)
    source.give()
    await settled(keeper)
    source.time += 79
    assert keeper.current() is not None
    assert source.fetches == 1
    source.time += 2
    assert keeper.current() is not None
    assert keeper.current() is not None
    source.give(NEWER)
    await settled(keeper)
    assert source.fetches == 2
    held = keeper.current()
    assert held is not None
    assert NEWER.encode() in held.headers[0][1]
    assert keeper.scrubber is not None
    # The one before may still be in an answer that is under way.
    assert keeper.scrubber.clean(f"{CANARY} {NEWER}".encode()) == MASK + b" " + MASK


async def test_one_that_has_no_end_is_renewed_when_told_and_kept_when_that_fails() -> None:
    source = Source()
    keeper = source.keeper()
    keeper.preset(SecretStr(CANARY))
    for answer, shown in ((CredentialError("gone"), CANARY), (None, NEWER)):
        keeper.renew()
        keeper.renew()
        held = keeper.current()
        assert held is not None
        assert CANARY.encode() in held.headers[0][1]
        if answer is None:
            source.give(NEWER, None)
        else:
            source.answers.put_nowait(answer)
        await settled(keeper)
        held = keeper.current()
        assert held is not None
        assert shown.encode() in held.headers[0][1]
        assert (keeper.problem is None) == (answer is None)
    assert source.fetches == 2


async def test_what_has_ended_is_not_used() -> None:
    source = Source()
    keeper = source.keeper()
    keeper.wait(lambda good: None)
    source.give()
    await settled(keeper)
    source.time += 100
    assert keeper.current() is None
    await keeper.aclose()


async def test_after_a_failure_nobody_asks_again_at_once_and_the_log_says_why() -> None:
    """Rows C12 and C18: by kind, whatever the error's text holds."""
    source = Source()
    keeper = source.keeper()
    told: list[bool] = []
    with capture_logs() as logs:
        keeper.wait(told.append)
        source.answers.put_nowait(RuntimeError(f"unexpected {CANARY}"))
        await settled(keeper)
        assert not keeper.wait(told.append)
        source.time += 60
        assert keeper.wait(told.append)
        source.answers.put_nowait(CredentialError("it answers with status 500"))
        await settled(keeper)
    assert told == [False, False]
    assert [line["reason"] for line in logs] == ["RuntimeError", "it answers with status 500"]
    assert CANARY not in str(logs)
    source.time += 60
    keeper.wait(told.append)
    source.give()
    await settled(keeper)
    assert keeper.problem is None


async def test_a_value_the_upstream_refused_is_fetched_anew_for_the_next_call() -> None:
    source = Source()
    keeper = source.keeper()
    keeper.preset(SecretStr(CANARY))
    keeper.refused()
    assert keeper.current() is not None  # too young: the next would be refused as well
    source.time += 5
    keeper.refused()
    assert keeper.current() is None
    source.give(NEWER, None)
    await settled(keeper)
    assert keeper.current() is not None
    source.time += 1_000_000
    assert keeper.current() is not None
    assert source.fetches == 1


@pytest.mark.parametrize("bad", ["short", "with space in the middle of it 123"])
async def test_a_fetched_value_that_is_unusable_is_no_value(bad: str) -> None:
    source = Source()
    keeper = source.keeper()
    keeper.wait(lambda good: None)
    source.give(bad)
    await settled(keeper)
    assert keeper.current() is None
    assert bad not in str(keeper.problem)
    await keeper.aclose()


async def test_waiting_is_bounded_and_can_be_left() -> None:
    source = Source()
    keeper = source.keeper()
    told: list[Any] = []
    waits = [lambda good, at=at: told.append(at) for at in range(MAX_WAITING)]
    assert all(keeper.wait(each) for each in waits)
    assert not keeper.wait(told.append)
    keeper.leave(waits[0])
    source.give()
    await settled(keeper)
    assert told == list(range(1, MAX_WAITING))


async def test_closing_tells_who_waits() -> None:
    source = Source()
    keeper = source.keeper()
    told: list[bool] = []
    keeper.wait(told.append)
    await keeper.aclose()
    assert told == [False]


def test_users_have_keepers_of_their_own_and_there_is_an_end_to_them() -> None:
    source = Source()
    keepers = Keepers(True, lambda user: source.keeper())
    ada = keepers.find("ada")
    assert ada is not None
    assert keepers.find("ada") is ada
    assert keepers.find("bob") is not ada
    assert keepers.find(None) is None
    assert keepers.find("") is None
    for number in range(MAX_USERS):
        keepers.find(f"user{number}")
    assert len(keepers.all()) == MAX_USERS
    shared = Keepers(False, lambda user: source.keeper())
    assert shared.find("ada") is shared.find(None)
