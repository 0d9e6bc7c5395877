"""Codes, tokens and secrets: what fits is traded in once, whatever comes at the same time."""

import asyncio
import base64
from collections import Counter
from pathlib import Path

import pytest

from shared.ids import ADMIN_PREFIX, REFRESH_PREFIX, SESSION_PREFIX, new_token
from tests.tunnel_relay.admin.test_service import broken, mended
from tests.tunnel_relay.identity.authorization import (
    CALLBACK,
    OTHER_URL,
    RESOURCE,
    Form,
    Scene,
    a_server,
    code_form,
    refresh_form,
)
from tests.tunnel_relay.making import URL
from tunnel_relay.identity.agents import DYNAMIC_OF_ONE, DYNAMIC_SECONDS
from tunnel_relay.store.base import Door


async def test_a_code_becomes_a_session_of_its_user_agent_and_server(tmp_path: Path) -> None:
    async with a_server(tmp_path) as scene:
        tokens = await scene.tokens()
        assert tokens["access_token"].startswith(SESSION_PREFIX)
        assert tokens["refresh_token"].startswith(REFRESH_PREFIX)
        assert tokens["token_type"] == "Bearer"
        assert tokens["expires_in"] == 3600
        (session,) = scene.live()
        assert (session.user, session.agent, session.place) == ("bob", "desk", "lab/server")
        assert (session.door, session.granted_by) == (Door.OAUTH, "bob")
        assert scene.opens(tokens["access_token"])
        assert not scene.opens(tokens["refresh_token"])


async def test_u11_a_code_that_comes_again_ends_what_came_of_it(tmp_path: Path) -> None:
    async with a_server(tmp_path) as scene:
        code = await scene.consented()
        tokens = (await scene.trade(code_form(code))).json()
        again = await scene.trade(code_form(code))
        assert (again.status_code, again.json()["error"]) == (400, "invalid_grant")
        assert not scene.opens(tokens["access_token"])
        assert (await scene.trade(refresh_form(tokens))).status_code == 400
        assert scene.live() == []


async def test_u11_a_code_that_comes_twice_at_once_leaves_no_session(tmp_path: Path) -> None:
    """The second comes while the session of the first is still being stored."""
    async with a_server(tmp_path) as scene:
        code = await scene.consented()
        answers = await asyncio.gather(*(scene.trade(code_form(code)) for _ in range(3)))
        assert [each.status_code for each in answers] == [400] * 3
        assert scene.live() == []


@pytest.mark.parametrize(
    ("changed", "error"),
    [
        ({"code_verifier": "A" * 43}, "invalid_grant"),
        ({"code_verifier": ""}, "invalid_grant"),
        ({"redirect_uri": CALLBACK + "/x"}, "invalid_grant"),
        ({"redirect_uri": "http://127.0.0.1:10/callback"}, "invalid_grant"),
        ({"resource": f"{URL}/t/lab/other/mcp"}, "invalid_target"),
        ({"resource": "https://elsewhere.example/t/lab/server/mcp"}, "invalid_target"),
        ({"resource": RESOURCE + "/"}, "invalid_target"),
        ({"grant_type": "password"}, "unsupported_grant_type"),
    ],
)
async def test_what_does_not_fit_a_code_gets_nothing(
    tmp_path: Path, changed: Form, error: str
) -> None:
    """H07, U11: a stolen code is worth nothing without what only the agent knows."""
    async with a_server(tmp_path) as scene:
        answer = await scene.trade(code_form(await scene.consented(), **changed))
        assert (answer.status_code, answer.json()["error"]) == (400, error)
        assert answer.headers["cache-control"] == "no-store"
        assert scene.live() == []


async def test_a_code_of_another_agent_is_no_code(tmp_path: Path) -> None:
    """Code injection: and the rightful agent can still use it."""
    async with a_server(tmp_path) as scene:
        await scene.admin.agent_add("other", [CALLBACK])
        code = await scene.consented()
        stolen = await scene.trade(code_form(code, "other"))
        unknown = await scene.trade(code_form("x" * 43))
        assert stolen.status_code == unknown.status_code == 400
        assert stolen.json() == unknown.json()
        assert (await scene.trade(code_form(code))).status_code == 200


async def test_a_code_is_good_for_a_minute(tmp_path: Path) -> None:
    async with a_server(tmp_path) as scene:
        code = await scene.consented()
        scene.now += 60
        assert (await scene.trade(code_form(code))).status_code == 400
        code = await scene.consented()
        scene.now += 59
        assert (await scene.trade(code_form(code))).status_code == 200


async def test_the_resource_may_be_left_out_or_be_at_another_origin_of_the_relay(
    tmp_path: Path,
) -> None:
    async with a_server(tmp_path) as scene:
        there = RESOURCE.replace(URL, OTHER_URL)
        code = await scene.consented(resource=there)
        tokens = (await scene.trade(code_form(code, resource=there))).json()
        renewed = await scene.trade(refresh_form(tokens, resource=there))
        assert renewed.status_code == 200
        assert (await scene.trade(refresh_form(renewed.json()))).status_code == 200


async def test_a_user_who_lost_the_server_gets_no_session(tmp_path: Path) -> None:
    async with a_server(tmp_path) as scene:
        code = await scene.consented()
        await scene.admin.user_change("bob", servers=[])
        answer = await scene.trade(code_form(code))
        assert (answer.status_code, answer.json()["error"]) == (400, "invalid_grant")
        assert scene.live() == []


@pytest.mark.parametrize("turn", range(4))
async def test_s29_what_is_taken_away_while_a_session_is_stored_is_taken_from_it(
    tmp_path: Path, turn: int
) -> None:
    async with a_server(tmp_path) as scene:
        code, admin = await scene.consented(), scene.admin

        async def take_away() -> None:
            for _ in range(turn * 2):
                await asyncio.sleep(0)
            await admin.user_change("bob", servers=[])

        await asyncio.gather(scene.trade(code_form(code)), take_away())
        assert scene.live() == []


async def test_a_lock_says_no_more_than_that_it_is_not_possible(tmp_path: Path) -> None:
    async with a_server(tmp_path) as scene:
        code = await scene.consented()
        await scene.admin.lock_add("user", "bob", "a secret reason")
        answer = await scene.trade(code_form(code))
        assert answer.status_code == 400
        assert "lock" not in answer.text
        assert "reason" not in answer.text


async def test_a_store_that_fails_opens_nothing(tmp_path: Path) -> None:
    async with a_server(tmp_path) as scene:
        code = await scene.consented()
        broken(tmp_path, "sessions")
        answer = await scene.trade(code_form(code))
        assert answer.status_code == 503
        assert answer.headers["retry-after"]
        assert scene.live() == []
        mended(tmp_path, "sessions")


# Giving back ----------------------------------------------------------------------------------


@pytest.mark.parametrize("which", ["access_token", "refresh_token"])
async def test_giving_either_token_back_ends_the_session(tmp_path: Path, which: str) -> None:
    async with a_server(tmp_path) as scene:
        await scene.admin.agent_add("other", [CALLBACK])
        tokens = await scene.tokens()
        form = {"token": tokens[which], "client_id": "desk"}
        for of_nobody in (
            {**form, "client_id": "other"},
            {**form, "token": new_token(ADMIN_PREFIX)},
            {**form, "token": "x"},
        ):
            assert (await scene.trade(of_nobody, "revoke")).status_code == 200
        assert scene.opens(tokens["access_token"])
        assert (await scene.trade({"client_id": "desk"}, "revoke")).status_code == 400
        assert (await scene.trade(form, "revoke")).status_code == 200
        assert scene.live() == []
        assert (await scene.trade(form, "revoke")).status_code == 200


# Who agents are -------------------------------------------------------------------------------


def basic(name: str, secret: str) -> str:
    return "Basic " + base64.b64encode(f"{name}:{secret}".encode()).decode()


async def test_an_agent_with_a_secret_has_to_show_it_by_one_way(tmp_path: Path) -> None:
    async with a_server(tmp_path) as scene:
        made = await scene.admin.agent_add("safe", [CALLBACK], secret=True)
        secret = made["secret"]
        form = code_form(await scene.consented("safe"), "safe")
        for wrong in (None, "", "x", new_token("mtc_"), secret[:-1]):
            sent = form if wrong is None else {**form, "client_secret": wrong}
            answer = await scene.trade(sent)
            assert (answer.status_code, answer.json()["error"]) == (401, "invalid_client")
            assert secret not in answer.text
        for header in ("Basic !", "Bearer x", basic("safe", "x"), basic("desk", secret)):
            answer = await scene.trade(form, Authorization=header)
            assert answer.status_code == 401
            assert answer.headers["www-authenticate"].startswith("Basic ")
        two = await scene.trade(
            {**form, "client_secret": secret}, Authorization=basic("safe", secret)
        )
        assert (two.status_code, two.json()["error"]) == (400, "invalid_request")
        tokens = await scene.trade(form, Authorization=basic("safe", secret))
        assert tokens.status_code == 200
        without = await scene.trade(refresh_form(tokens.json(), "safe"))
        assert without.status_code == 401
        posted = refresh_form(tokens.json(), "safe", client_secret=secret)
        assert (await scene.trade(posted)).status_code == 200


async def test_a_disabled_agent_is_nobody(tmp_path: Path) -> None:
    async with a_server(tmp_path) as scene:
        tokens, code = await scene.tokens(), await scene.consented()
        await scene.admin.agent_disable("desk")
        for form in (refresh_form(tokens), code_form(code), code_form(code, "never-heard")):
            answer = await scene.trade(form)
            assert (answer.status_code, answer.json()["error"]) == (401, "invalid_client")
        assert scene.live() == []


@pytest.mark.parametrize(
    "body",
    [b"", b"client_id", b"client_id=desk&client_id=desk", b"\xff=1", b"a=" + b"x" * 20_000, b"{}"],
)
async def test_a_form_that_is_none_is_refused(tmp_path: Path, body: bytes) -> None:
    async with a_server(tmp_path) as scene:
        http, form = await scene.http(), {"Content-Type": "application/x-www-form-urlencoded"}
        answer = await http.post("/oauth/token", content=body, headers=form)
        assert answer.status_code in (400, 401)
        as_json = await http.post("/oauth/token", json={"client_id": "desk"})
        assert (as_json.status_code, as_json.json()["error"]) == (400, "invalid_request")


async def test_asking_is_bounded_for_each_address(tmp_path: Path) -> None:
    async with a_server(tmp_path) as scene:
        http = await scene.http()
        answers = [await http.post("/oauth/token", data={"client_id": "x"}) for _ in range(61)]
        assert [each.status_code for each in answers] == [401] * 60 + [429]


# Agents that register themselves --------------------------------------------------------------


async def registered(scene: Scene, document: object) -> tuple[int, Form]:
    answer = await (await scene.http()).post("/oauth/register", json=document)
    return answer.status_code, answer.json()


async def test_an_agent_that_registers_itself_is_a_public_one(tmp_path: Path) -> None:
    async with a_server(tmp_path, dynamic_registration=True) as scene:
        for method in (None, "client_secret_basic", "client_secret_post", "private_key_jwt"):
            wanted = {"redirect_uris": [CALLBACK], "client_name": "An agent"}
            if method is not None:
                wanted["token_endpoint_auth_method"] = method
            status, made = await registered(scene, wanted)
            assert status == 201
            assert made["token_endpoint_auth_method"] == "none"
            assert "client_secret" not in made
        assert await scene.tokens(made["client_id"])


@pytest.mark.parametrize(
    "document",
    [
        [],
        {},
        {"redirect_uris": []},
        {"redirect_uris": CALLBACK},
        {"redirect_uris": [1]},
        {"redirect_uris": ["http://evil.example/"]},
        {"redirect_uris": ["https://a.example;script-src/x"]},
        {"redirect_uris": [CALLBACK] * 11},
        {"redirect_uris": [CALLBACK], "client_name": ""},
        {"redirect_uris": [CALLBACK], "client_name": "a\u202eb"},
        {"redirect_uris": [CALLBACK], "client_name": "x" * 201},
        {"redirect_uris": [CALLBACK], "grant_types": ["client_credentials"]},
    ],
)
async def test_a_registration_that_does_not_hold_is_refused(
    tmp_path: Path, document: object
) -> None:
    async with a_server(tmp_path, dynamic_registration=True) as scene:
        status, answer = await registered(scene, document)
        assert status == 400
        assert answer["error"] in ("invalid_redirect_uri", "invalid_client_metadata")


async def test_u11_the_errors_of_an_agent_that_nobody_vouched_for_lead_nowhere(
    tmp_path: Path,
) -> None:
    """U11: else the relay's name would lead to any page, and nobody had to click on anything."""
    async with a_server(tmp_path, dynamic_registration=True) as scene:
        _, made = await registered(scene, {"redirect_uris": [CALLBACK]})
        http, asked = await scene.http(), scene.authorize(made["client_id"], response_type="token")
        answer = await http.get(asked)
        assert (answer.status_code, "location" in answer.headers) == (400, False)
        assert await scene.tokens(made["client_id"])  # somebody consented
        answer = await (await scene.http()).get(asked)
        assert answer.status_code == 303
        assert answer.headers["location"].startswith(CALLBACK)


async def test_registering_is_bounded_and_off_unless_asked_for(tmp_path: Path) -> None:
    wanted = {"redirect_uris": [CALLBACK]}
    for name in ("on", "off"):
        (tmp_path / name).mkdir()
    async with a_server(tmp_path / "on", dynamic_registration=True) as scene:
        statuses = [(await registered(scene, wanted))[0] for _ in range(11)]
        assert statuses == [201] * 10 + [429]
        assert scene.admin.directory.agents.keys() == {"desk"}
    async with a_server(tmp_path / "off") as scene:
        http = await scene.http()
        assert (await http.post("/oauth/register", json=wanted)).status_code == 404


async def test_a_flood_of_registrations_ends_nobody_elses(tmp_path: Path) -> None:
    """One address has so many that nobody consented to; those of others stay and are added to."""
    wanted = {"redirect_uris": [CALLBACK]}
    async with a_server(tmp_path, dynamic_registration=True) as scene:
        mine = (await registered(scene, wanted))[1]["client_id"]
        flood, statuses = await scene.http("192.0.2.2"), Counter[int]()
        for _ in range(DYNAMIC_OF_ONE + 5):
            scene.now += 6  # as fast as one address may
            answer = await flood.post("/oauth/register", json=wanted)
            statuses[answer.status_code] += 1
        assert statuses == {201: DYNAMIC_OF_ONE, 429: 5}
        assert answer.json()["error"] == "slow_down"
        assert 80_000 < int(answer.headers["retry-after"]) < DYNAMIC_SECONDS
        assert (await registered(scene, wanted))[0] == 201
        assert await scene.consented(mine)


async def test_an_agent_that_is_used_makes_room_for_another(tmp_path: Path) -> None:
    wanted = {"redirect_uris": [CALLBACK]}
    async with a_server(tmp_path, dynamic_registration=True) as scene:
        agents = []
        for _ in range(DYNAMIC_OF_ONE):
            scene.now += 6
            agents.append((await registered(scene, wanted))[1]["client_id"])
        scene.now += 6
        assert (await registered(scene, wanted))[0] == 429
        await scene.tokens(agents[0])
        scene.now += 6
        assert (await registered(scene, wanted))[0] == 201
        await scene.tokens(agents[0])
