"""Refresh tokens: each is traded in once, and kindly once more when nobody saw the answer."""

import asyncio
from pathlib import Path

import pytest

from shared.ids import REFRESH_PREFIX, new_token, token_digest
from tests.tunnel_relay.admin.test_service import broken, mended
from tests.tunnel_relay.identity.authorization import CALLBACK, Scene, a_server, refresh_form
from tests.tunnel_relay.making import URL
from tunnel_relay.sessions import SessionTable
from tunnel_relay.store.sql_sessions import REPEAT_SECONDS


async def restart(scene: Scene) -> None:
    """Let memory be what a relay that starts now would read."""
    scene.admin.sessions = SessionTable()
    await scene.admin.load()


async def test_s16_a_renewed_token_opens_the_same_session(tmp_path: Path) -> None:
    async with a_server(tmp_path) as scene:
        first = await scene.tokens()
        (before,) = scene.live()
        second = (await scene.trade(refresh_form(first))).json()
        (after,) = scene.live()
        assert before.id == after.id
        assert before.expires == after.expires
        assert scene.opens(second["access_token"])
        assert first["refresh_token"] != second["refresh_token"]


async def test_an_answer_that_was_lost_is_asked_for_again(tmp_path: Path) -> None:
    async with a_server(tmp_path) as scene:
        first = await scene.tokens()
        lost = (await scene.trade(refresh_form(first))).json()
        again = await scene.trade(refresh_form(first))
        assert again.status_code == 200
        assert not scene.opens(lost["access_token"])
        assert scene.opens(again.json()["access_token"])
        last = (await scene.trade(refresh_form(again.json()))).json()
        assert scene.opens(last["access_token"])
        assert len(scene.live()) == 1


async def test_an_answer_that_was_lost_with_the_relay_is_asked_for_again(tmp_path: Path) -> None:
    async with a_server(tmp_path) as scene:
        first = await scene.tokens()
        lost = (await scene.trade(refresh_form(first))).json()
        await restart(scene)
        assert scene.admin.sessions.why(lost["access_token"], scene.admin.clock()) is None
        again = (await scene.trade(refresh_form(first))).json()
        assert not scene.opens(lost["access_token"])
        assert scene.opens(again["access_token"])
        assert [each.digest for each in await scene.admin.store.tokens(scene.admin.clock())] == [
            token_digest(each["access_token"]) for each in (first, again)
        ]


@pytest.mark.parametrize("which", ["access", "refresh", "minute", "clock"])
async def test_a_refresh_token_that_comes_again_ends_the_session(
    tmp_path: Path, which: str
) -> None:
    """Its access token was used, or its refresh token; or a minute passed; or the clock jumped."""
    async with a_server(tmp_path) as scene:
        start = scene.admin.clock()
        scene.admin.clock = lambda: start
        first = await scene.tokens()
        newest = (await scene.trade(refresh_form(first))).json()
        if which == "access":
            assert scene.opens(newest["access_token"])
        elif which == "refresh":
            newest = (await scene.trade(refresh_form(newest))).json()
        else:
            moved = REPEAT_SECONDS if which == "minute" else -REPEAT_SECONDS
            scene.admin.clock = lambda: start + moved
        assert (await scene.trade(refresh_form(first))).json()["error"] == "invalid_grant"
        assert scene.live() == []
        assert not scene.opens(newest["access_token"])
        assert (await scene.trade(refresh_form(newest))).status_code == 400


async def test_a_thief_is_found_when_the_agent_renews(tmp_path: Path) -> None:
    """The thief brings the old token before the agent used the new ones: only one can go on."""
    async with a_server(tmp_path) as scene:
        first = await scene.tokens()
        honest = (await scene.trade(refresh_form(first))).json()
        stolen = (await scene.trade(refresh_form(first))).json()
        assert scene.opens(stolen["access_token"])
        assert not scene.opens(honest["access_token"])
        assert (await scene.trade(refresh_form(honest))).status_code == 400
        assert scene.live() == []
        assert not scene.opens(stolen["access_token"])
        assert (await scene.trade(refresh_form(stolen))).status_code == 400


async def test_a_thief_who_comes_after_the_agent_ends_the_session(tmp_path: Path) -> None:
    async with a_server(tmp_path) as scene:
        first = await scene.tokens()
        honest = (await scene.trade(refresh_form(first))).json()
        assert scene.opens(honest["access_token"])
        assert (await scene.trade(refresh_form(first))).status_code == 400
        assert scene.live() == []


async def test_of_fifty_that_renew_at_once_one_has_tokens_that_work(tmp_path: Path) -> None:
    async with a_server(tmp_path) as scene:
        tokens = await scene.tokens()
        answers = await asyncio.gather(*(scene.trade(refresh_form(tokens)) for _ in range(50)))
        good = [each.json() for each in answers if each.status_code == 200]
        assert len(good) == 20  # the others were too many
        now = scene.admin.clock()
        why = [scene.admin.sessions.why(each["access_token"], now) for each in good]
        assert why.count(None) == 1
        (live,) = (each for each, refused in zip(good, why, strict=True) if refused is None)
        kept = await scene.admin.store.tokens(now)
        assert {each.digest for each in kept} == {
            token_digest(each["access_token"]) for each in (tokens, live)
        }
        scene.now += 60
        assert (await scene.trade(refresh_form(live))).status_code == 200


async def test_fifty_that_use_and_renew_at_once_never_have_two_that_work(tmp_path: Path) -> None:
    """Whoever uses what they got while others still renew wins, or the session ends."""
    async with a_server(tmp_path) as scene:
        tokens = await scene.tokens()

        async def one() -> str | None:
            answer = await scene.trade(refresh_form(tokens))
            access = answer.json().get("access_token")
            return access if access is not None and scene.opens(access) else None

        used = [each for each in await asyncio.gather(*(one() for _ in range(50))) if each]
        assert len([each for each in used if scene.opens(each)]) <= 1
        assert scene.live() == [] or len(used) == 1


async def test_a_database_that_fails_leaves_the_session_to_be_renewed(tmp_path: Path) -> None:
    async with a_server(tmp_path) as scene:
        first = await scene.tokens()
        lost = (await scene.trade(refresh_form(first))).json()
        broken(tmp_path, "tokens")
        assert (await scene.trade(refresh_form(first))).status_code == 503
        mended(tmp_path, "tokens")
        assert (await scene.trade(refresh_form(first))).status_code == 200
        assert not scene.opens(lost["access_token"])


async def test_a_refresh_token_of_another_agent_is_none_and_stays_good(tmp_path: Path) -> None:
    async with a_server(tmp_path) as scene:
        await scene.admin.agent_add("other", [CALLBACK])
        tokens = await scene.tokens()
        for form in (
            refresh_form(tokens, "other"),
            refresh_form(tokens, resource=f"{URL}/t/lab/other/mcp"),
            refresh_form({"refresh_token": tokens["access_token"]}),
            refresh_form({"refresh_token": new_token(REFRESH_PREFIX)}),
            refresh_form({"refresh_token": "x"}),
        ):
            assert (await scene.trade(form)).status_code == 400
        assert (await scene.trade(refresh_form(tokens))).status_code == 200


async def test_a_lock_refuses_to_renew_until_it_is_lifted(tmp_path: Path) -> None:
    async with a_server(tmp_path) as scene:
        tokens = await scene.tokens()
        lock = await scene.admin.lock_add("agent", "desk", "a test")
        for _ in range(2):
            assert (await scene.trade(refresh_form(tokens))).status_code == 400
        await scene.admin.lock_remove(lock["lock"]["id"])
        assert (await scene.trade(refresh_form(tokens))).status_code == 200


async def test_no_token_outlives_its_session_and_an_old_one_ends_by_itself(
    tmp_path: Path,
) -> None:
    async with a_server(tmp_path, access_ttl=600) as scene:
        start = scene.admin.clock()
        ttl = scene.admin.settings.sessions.default_ttl
        scene.admin.clock = lambda: start
        tokens = await scene.tokens()
        scene.admin.clock = lambda: start + 600
        assert not scene.opens(tokens["access_token"])
        renewed = (await scene.trade(refresh_form(tokens))).json()
        assert scene.opens(renewed["access_token"])
        (session,) = scene.live()
        used = scene.admin.sessions.find
        for at in range(1200, int(ttl), 3000):  # an hour unused would end it
            scene.admin.clock = lambda at=at: start + at  # type: ignore[misc]
            renewed = (await scene.trade(refresh_form(renewed))).json()
            assert used(renewed["access_token"], scene.admin.clock()) is not None
            scene.now += 3000
        scene.admin.clock = lambda: start + ttl - 5
        assert used(renewed["access_token"], start + ttl - 400) is None
        last = (await scene.trade(refresh_form(renewed))).json()
        assert last["expires_in"] <= 5
        scene.admin.clock = lambda: start + ttl
        assert not scene.opens(last["access_token"])
        assert (await scene.trade(refresh_form(last))).status_code == 400
        assert session.expires == start + ttl


async def test_renewing_is_bounded_for_a_session(tmp_path: Path) -> None:
    async with a_server(tmp_path) as scene:
        tokens, other = await scene.tokens(), await scene.tokens()
        for _ in range(20):
            tokens = (await scene.trade(refresh_form(tokens))).json()
        limited = await scene.trade(refresh_form(tokens))
        assert (limited.status_code, limited.json()["error"]) == (429, "slow_down")
        assert (await scene.trade(refresh_form(other))).status_code == 200
        scene.now += int(limited.headers["retry-after"])
        assert (await scene.trade(refresh_form(tokens))).status_code == 200
