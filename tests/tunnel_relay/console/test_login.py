"""Logging in tells nothing to who guesses, and gives a cookie that nobody else gets."""

from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from pydantic import SecretStr
from structlog.testing import capture_logs

from tests.tunnel_relay.console.stage import PASSWORD, Stage, a_console, cookie_of
from tunnel_relay.admin.logins import COOKIE, IDLE
from tunnel_relay.console import login
from tunnel_relay.console.login import WRONG


async def test_the_cookie_goes_nowhere_else(tmp_path: Path) -> None:
    """U17: `__Host-`, HttpOnly, Secure, Strict, and fresh with every login."""
    async with a_console(tmp_path) as stage:
        fields = {"user": "ada", "password": PASSWORD}
        answer = await stage.nobody().post("/login", fields)
        assert (answer.status_code, answer.headers["location"]) == (303, "/")
        parts = {part.strip().lower() for part in answer.headers["set-cookie"].split(";")[1:]}
        assert parts == {"httponly", "secure", "samesite=strict", "path=/"}
        assert COOKIE.startswith("__Host-")
        again = await stage.nobody().post("/login", fields)
        assert cookie_of(again) != cookie_of(answer)


async def test_a_cookie_that_was_planted_is_not_taken_up(tmp_path: Path) -> None:
    """U17, fixation: neither an invented one nor that of another login becomes this login's."""
    async with a_console(tmp_path) as stage:
        mallory = await stage.logged_in("otto")
        for planted in ("a" * 43, mallory.cookie):
            hand = stage.nobody()
            hand.cookie = planted
            answer = await hand.post("/login", {"user": "ada", "password": PASSWORD})
            assert cookie_of(answer) != planted
            assert (await hand.get("/users")).headers.get("location") == "/login"


async def test_logging_out_makes_a_copied_cookie_worthless(tmp_path: Path) -> None:
    """U17."""
    async with a_console(tmp_path) as stage:
        hand = await stage.logged_in("ada")
        assert (await hand.get("/users")).status_code == 200
        refused = await hand.post("/logout", Origin="https://evil.example")
        assert refused.status_code == 403
        assert (await hand.get("/users")).status_code == 200
        answer = await hand.post("/logout")
        assert "Max-Age=0" in answer.headers["set-cookie"]
        assert (await hand.get("/users")).headers["location"] == "/login"
        assert (await hand.call("status")).status_code == 401


async def test_a_login_ends_when_it_is_not_used(tmp_path: Path) -> None:
    async with a_console(tmp_path) as stage:
        hand = await stage.logged_in("ada")
        now = stage.admin.clock
        stage.admin.clock = lambda: now() + IDLE
        assert (await hand.get("/")).headers["location"] == "/login"


async def test_a_login_ends_with_the_right_to_it(tmp_path: Path) -> None:
    """Disabled, locked, without a role, or with a new password: at once, and polls too (U16)."""
    async with a_console(tmp_path) as stage:
        admin = stage.admin
        ways: tuple[Callable[[], Awaitable[object]], ...] = (
            lambda: admin.user_disable("otto"),
            lambda: admin.user_change("otto", roles=["user"]),
            lambda: admin.user_password("otto", SecretStr("another password")),
            lambda: admin.lock_add("user", "otto", "asked about"),
        )
        for take_away in ways:
            await admin.user_enable("otto")
            await admin.user_change("otto", roles=["auditor"])
            await admin.user_password("otto", SecretStr(PASSWORD))
            hand = await stage.logged_in("otto")
            assert (await hand.get("/events/after/99")).status_code == 200
            await take_away()
            poll = await hand.get("/events/after/99", **{"HX-Request": "true"})
            assert (poll.status_code, poll.headers["hx-redirect"]) == (401, "/login")
            assert poll.content == b""
            assert (await hand.get("/")).headers["location"] == "/login"
            assert (await hand.call("status")).status_code == 401


async def test_a_login_does_not_come_back_with_the_right_to_it(tmp_path: Path) -> None:
    """U16: of somebody who was disabled and enabled, a cookie that nobody showed meanwhile."""
    async with a_console(tmp_path) as stage:
        hand = await stage.logged_in("otto")
        await stage.admin.user_disable("otto")
        await stage.admin.user_enable("otto")
        assert (await hand.get("/")).headers["location"] == "/login"
        assert (await hand.call("status")).status_code == 401
        again = await stage.logged_in("otto")
        assert (await again.get("/")).status_code == 200


async def test_a_feed_stops_when_the_role_changes(tmp_path: Path) -> None:
    """U16: an approver may stay logged in, but not watch."""
    async with a_console(tmp_path) as stage:
        hand = await stage.logged_in("otto")
        assert (await hand.get("/events/after/99")).status_code == 200
        await stage.admin.user_change("otto", roles=["approver"])
        stage.events.add("", "info", "something_new", {})
        for path in ("/events/after/0", "/live", "/events"):
            answer = await hand.get(path)
            assert answer.status_code == 403
            assert "something" not in answer.text


WRONGS = [
    ("nobody", PASSWORD),
    ("ada", "wrong password"),
    ("ada", ""),
    ("", ""),
    ("ADA", PASSWORD),
    ("uma", PASSWORD),  # has no role
    ("ned", PASSWORD),  # has no password
    ("abe", PASSWORD),  # is disabled
    ("ada", "x" * 2000),
]


async def furnish(stage: Stage) -> None:
    await stage.admin.user_add("ned", roles=["admin"])
    await stage.admin.user_disable("abe")


async def test_every_reason_has_one_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """U10: no account, no role, no password, disabled: one page, after the same work."""
    async with a_console(tmp_path) as stage:
        await furnish(stage)
        verified = []
        verify = stage.admin.passwords.verify

        async def counted(stored: str | None, password: SecretStr) -> bool:
            verified.append(password)
            return await verify(stored, password)

        monkeypatch.setattr(stage.admin.passwords, "verify", counted)
        pages = set()
        for user, password in WRONGS:
            answer = await stage.nobody().post("/login", {"user": user, "password": password})
            assert answer.status_code == 403
            assert "set-cookie" not in answer.headers
            pages.add(answer.content)
        assert len(pages) == 1
        assert WRONG in pages.pop().decode()
        assert len(verified) == len(WRONGS)


async def test_what_was_typed_is_logged_nowhere(tmp_path: Path) -> None:
    """People type their password into the field of the name."""
    async with a_console(tmp_path) as stage:
        await furnish(stage)
        with capture_logs() as lines:
            for user, password in [*WRONGS, ("hunter2 hunter2", "hunter3 hunter3")]:
                await stage.nobody().post("/login", {"user": user, "password": password})
        assert len([line for line in lines if line["event"] == "console_login_refused"]) > 5
        assert "hunter" not in str(lines)
        assert PASSWORD not in str(lines)


async def test_guessing_is_slowed_down(tmp_path: Path) -> None:
    """U10: by account and address; the right password shows a guesser nothing."""
    async with a_console(tmp_path) as stage:
        guess = {"user": "ada", "password": "wrong password"}
        answers = [await stage.nobody().post("/login", guess) for _ in range(12)]
        assert [each.status_code for each in answers] == [403] * 5 + [429] * 7
        assert 0 < int(answers[-1].headers["retry-after"]) <= 120
        right = {"user": "ada", "password": PASSWORD}
        assert (await stage.nobody().post("/login", right)).status_code == 429
        assert (await stage.nobody().post("/login", {**right, "user": "otto"})).status_code == 303


async def test_passwords_are_verified_for_a_few_at_a_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """U10: who comes from many addresses does not queue up work without end."""
    monkeypatch.setattr(login, "AT_ONCE", 0)
    async with a_console(tmp_path) as stage:
        answer = await stage.nobody().post("/login", {"user": "ada", "password": PASSWORD})
        assert answer.status_code == 429


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Content-Type": "application/json"},
        {"Content-Type": "text/plain"},
    ],
)
async def test_nobody_is_logged_in_by_another_page(tmp_path: Path, headers: dict[str, str]) -> None:
    """U01: a login into the attacker's account."""
    async with a_console(tmp_path) as stage:
        right = {"user": "ada", "password": PASSWORD}
        answer = await stage.nobody().post("/login", right, **headers)
        assert answer.status_code in (403, 415)
        assert "set-cookie" not in answer.headers


async def test_the_last_login_is_remembered(tmp_path: Path) -> None:
    async with a_console(tmp_path) as stage:
        assert (await stage.admin.user_show("ada"))["last_login"] is None
        await stage.logged_in("ada")
        assert (await stage.admin.user_show("ada"))["last_login"] is not None
        stored = {user.key: user for user in await stage.admin.store.users()}
        assert stored["ada"].last_login is not None


async def test_who_is_logged_in_is_sent_on(tmp_path: Path) -> None:
    async with a_console(tmp_path) as stage:
        hand = await stage.logged_in("ada")
        assert (await hand.get("/login")).headers["location"] == "/"
        pia = await stage.logged_in("pia")
        assert (await pia.get("/")).headers["location"] == "/approvals"
