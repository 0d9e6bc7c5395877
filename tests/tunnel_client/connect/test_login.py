"""Logging in at a real authorization server: once, renewed once, told from what is forged."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import anyio
import pytest

from tests.helpers.oauth_server import OAuthServer, oauth_server, visit
from tests.tunnel_client.connect.making import Kept
from tunnel_client.connect import login as module
from tunnel_client.connect.address import WebUrl
from tunnel_client.connect.discovery import challenge_values
from tunnel_client.connect.login import Login
from tunnel_client.connect.token_store import TokenStore
from tunnel_client.errors import ClientError
from tunnel_client.errors_connect import (
    ConnectBusyError,
    LoginRefusedError,
    LoginTimeoutError,
    LogoutUntoldError,
    NotRegisteredError,
    ServerAnswerError,
    TokenRefusedError,
)

TRUST = ssl.create_default_context()


class Person:
    """Opens what they are shown, unless they are away."""

    def __init__(self) -> None:
        self.shown: list[str] = []
        self.pages: list[str] = []
        self.away = False
        self.seen = asyncio.Event()

    async def show(self, url: str) -> None:
        self.shown.append(url)
        self.seen.set()
        if not self.away:
            self.pages.append((await visit(url)).text)


@asynccontextmanager
async def made(
    server: OAuthServer, folder: Path, agent_id: str | None = None, person: Person | None = None
) -> AsyncIterator[tuple[Login, Person]]:
    someone = person or Person()
    url = WebUrl.parse(server.url)
    store = TokenStore(folder / "state", url, None)
    login = Login(url, store, TRUST, Kept(), someone.show, agent_id)
    with anyio.fail_after(30):
        try:
            yield login, someone
        finally:
            await login.aclose()


async def test_a_person_logs_in_once_and_it_is_kept(tmp_path: Path) -> None:
    async with oauth_server() as server:
        async with made(server, tmp_path) as (login, person):
            assert await login.token() is None
            token = await login.renew(None, "", may_ask=True)
            assert token.get_secret_value() in server.access
            assert "close this window" in person.pages[0]
            assert await login.token() == token
        (asked,) = server.requests("authorize")
        assert asked["code_challenge_method"] == "S256"
        assert asked["resource"] == server.url
        assert server.requests("token")[0]["resource"] == server.url
        assert server.requests("register")[0]["redirect_uris"] == [asked["redirect_uri"]]
        assert asked["redirect_uri"].startswith("http://127.0.0.1:")
        async with made(server, tmp_path) as (again, other):
            assert await again.token() == token
            assert other.shown == []


async def test_an_agent_that_is_registered_uses_its_id(tmp_path: Path) -> None:
    async with oauth_server() as server, made(server, tmp_path, "desk") as (login, _):
        await login.renew(None, "", may_ask=True)
        assert server.requests("authorize")[0]["client_id"] == "desk"
        assert server.requests("register") == []


async def test_without_an_id_or_registration_the_admins_command_is_told(tmp_path: Path) -> None:
    async with oauth_server() as server, made(server, tmp_path) as (login, person):
        server.said["/.well-known/oauth-authorization-server"] = {"registration_endpoint": None}
        with pytest.raises(NotRegisteredError, match="tunnel-relay agent add"):
            await login.renew(None, "", may_ask=True)
        assert person.shown == []


async def test_many_calls_log_in_once(tmp_path: Path) -> None:
    async with oauth_server() as server, made(server, tmp_path) as (login, person):
        found = await asyncio.gather(*(login.renew(None, "", may_ask=True) for _ in range(20)))
        assert len(set(found)) == len(person.shown) == 1


async def test_many_processes_renew_once_and_end_no_session(tmp_path: Path) -> None:
    """A refresh token that is used twice would end the session for all of them."""
    async with (
        oauth_server() as server,
        made(server, tmp_path) as (first, person),
        made(server, tmp_path, person=person) as (second, _),
        made(server, tmp_path, person=person) as (third, _),
    ):
        old = await first.renew(None, "", may_ask=True)
        assert await second.token() == await third.token() == old
        for _ in range(3):
            server.end_access()
            logins = (first, second, third)
            found = await asyncio.gather(
                *(each.renew(old, "", may_ask=True) for each in logins for _ in range(3))
            )
            assert len(set(found)) == 1
            old = found[0]
        assert len(person.shown) == 1
        assert len(server.requests("token")) == 4
        assert any(server.refresh.values())


async def test_a_token_about_to_end_is_renewed_before_it_is_sent(tmp_path: Path) -> None:
    async with oauth_server() as server, made(server, tmp_path) as (login, person):
        server.expires_in = 10
        old = await login.renew(None, "", may_ask=True)
        server.expires_in = 3600
        new = await login.token()
        assert new is not None
        assert new != old
        assert await login.token() == new
        assert len(person.shown) == 1


async def test_an_ended_session_leads_to_a_new_login_only_for_a_call(tmp_path: Path) -> None:
    async with oauth_server() as server, made(server, tmp_path) as (login, person):
        old = await login.renew(None, "", may_ask=True)
        server.end_access()
        server.refresh.clear()
        with pytest.raises(TokenRefusedError, match="--login"):
            await login.renew(old, "", may_ask=False)
        assert len(person.shown) == 1
        assert await login.renew(old, "", may_ask=True) != old
        assert len(person.shown) == 2


async def test_a_server_that_fails_costs_no_login(tmp_path: Path) -> None:
    async with oauth_server() as server, made(server, tmp_path) as (login, person):
        old = await login.renew(None, "", may_ask=True)
        server.end_access()
        server.token_status = 503
        with pytest.raises(ClientError):
            await login.renew(old, "", may_ask=True)
        server.token_status = 200
        assert await login.renew(old, "", may_ask=True) != old
        assert len(person.shown) == 1


async def test_who_says_no_is_not_asked_again_at_once(tmp_path: Path) -> None:
    async with oauth_server() as server, made(server, tmp_path) as (login, person):
        server.denies = True
        for _ in range(3):
            with pytest.raises(LoginRefusedError, match="access_denied"):
                await login.renew(None, "", may_ask=True)
        assert len(person.shown) == 1
        # Somebody logs in elsewhere, with --login: that counts at once.
        server.denies = False
        async with made(server, tmp_path) as (other, _):
            token = await other.renew(None, "", may_ask=True)
        assert await login.renew(None, "", may_ask=True) == token


async def test_nobody_at_the_browser_is_an_answer_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LOGIN_SECONDS", 0.05)
    async with oauth_server() as server, made(server, tmp_path) as (login, person):
        person.away = True
        with pytest.raises(LoginTimeoutError, match="--login"):
            await login.renew(None, "", may_ask=True)


async def test_a_call_that_is_cancelled_does_not_end_the_login(tmp_path: Path) -> None:
    async with oauth_server() as server, made(server, tmp_path) as (login, person):
        person.away = True
        first = asyncio.ensure_future(login.renew(None, "", may_ask=True))
        await person.seen.wait()
        first.cancel()
        second = asyncio.ensure_future(login.renew(None, "", may_ask=True))
        await visit(person.shown[0])
        assert (await second).get_secret_value() in server.access
        assert len(person.shown) == 1


async def test_another_process_that_logs_in_is_waited_for_but_not_forever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LOCK_SECONDS", 0.05)
    async with (
        oauth_server() as server,
        made(server, tmp_path) as (first, person),
        made(server, tmp_path) as (second, _),
    ):
        person.away = True
        waiting = asyncio.ensure_future(first.renew(None, "", may_ask=True))
        await person.seen.wait()
        with pytest.raises(ConnectBusyError):
            await second.renew(None, "", may_ask=False)
        await visit(person.shown[0])
        await waiting


@pytest.mark.parametrize(
    "bend",
    [
        lambda answer: answer.update(iss="https://evil.example"),
        lambda answer: answer.update(code=""),
    ],
    ids=["issuer", "code"],
)
async def test_an_answer_of_another_server_is_refused(
    tmp_path: Path, bend: Callable[[dict[str, str]], None]
) -> None:
    """U11: mix-up."""
    async with oauth_server() as server, made(server, tmp_path) as (login, _):
        server.said["authorize"] = {}
        bend(server.said["authorize"])
        with pytest.raises(LoginRefusedError):
            await login.renew(None, "", may_ask=True)
        assert server.requests("token") == []


async def test_a_state_of_somebody_else_is_turned_away_and_the_login_goes_on(
    tmp_path: Path,
) -> None:
    async with oauth_server() as server, made(server, tmp_path) as (login, person):
        person.away = True
        waiting = asyncio.ensure_future(login.renew(None, "", may_ask=True))
        await person.seen.wait()
        target = parse_qs(urlsplit(person.shown[0]).query)["redirect_uri"][0]
        for query in ("code=evil", "code=evil&state=x", f"state=x&state=y&iss={server.origin}"):
            assert (await visit(f"{target}?{query}")).status_code == 400
        await visit(person.shown[0])
        assert (await waiting).get_secret_value() in server.access


async def test_a_logout_gives_the_session_back_and_forgets(tmp_path: Path) -> None:
    async with oauth_server() as server, made(server, tmp_path) as (login, _):
        await login.renew(None, "", may_ask=True)
        refresh = next(iter(server.refresh))
        assert await login.log_out()
        assert server.requests("revoke") == [{"token": refresh, "client_id": "dyn-1"}]
        assert not await login.log_out()
        assert [each.suffix for each in (tmp_path / "state" / "connect").iterdir()] == [".lock"]


async def test_a_logout_forgets_nothing_before_the_server_was_told(tmp_path: Path) -> None:
    """Killed in between, there is something to try again with."""
    async with oauth_server() as server, made(server, tmp_path) as (login, _):
        await login.renew(None, "", may_ask=True)
        folder, kept = tmp_path / "state" / "connect", list[Path]()
        server.before_revoking = lambda: kept.extend(folder.glob("*.json"))
        assert await login.log_out()
        assert len(kept) == 1
        assert list(folder.glob("*.json")) == []


@pytest.mark.parametrize("status", [400, 503, None])
async def test_a_logout_that_the_server_did_not_take_forgets_and_says_so(
    tmp_path: Path, status: int | None
) -> None:
    """`None`: the server is gone."""
    async with AsyncExitStack() as running:
        server = await running.enter_async_context(oauth_server())
        login, _ = await running.enter_async_context(made(server, tmp_path))
        token = (await login.renew(None, "", may_ask=True)).get_secret_value()
        server.revoke_status = status or 200
        if status is None:
            await running.aclose()
        with pytest.raises(LogoutUntoldError) as caught:
            await login.log_out()
        assert caught.value.exit_code == 69
        assert server.origin in str(caught.value)
        assert token not in str(caught.value)
        assert list((tmp_path / "state" / "connect").glob("*.json")) == []
        assert await login.token() is None
        assert not await login.log_out()


async def test_a_token_that_is_none_is_not_taken(tmp_path: Path) -> None:
    async with oauth_server() as server, made(server, tmp_path) as (login, _):
        server.token_status = 204
        with pytest.raises((ServerAnswerError, ClientError)):
            await login.renew(None, "", may_ask=True)
        assert await login.token() is None


def test_a_challenge_is_read_by_its_quoted_parameters() -> None:
    said = challenge_values(
        'Basic realm="x", Bearer error="invalid_token", resource_metadata="https://a/b", '
        'scope="mcp b", resource_metadata="https://evil/"'
    )
    assert said["resource_metadata"] == "https://a/b"
    assert said["scope"] == "mcp b"
