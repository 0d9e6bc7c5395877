"""U11: who comes back from the provider is believed once, in one browser, on its own word only."""

import base64
import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from pydantic import SecretStr

from tests.tunnel_relay.identity.key_host import key_host
from tests.tunnel_relay.identity.minting import NOW
from tests.tunnel_relay.identity.provider import FalseProvider
from tests.tunnel_relay.making import make_relay
from tunnel_relay.admin.runtime import open_admin
from tunnel_relay.admin.service import Admin
from tunnel_relay.identity.oidc import EXCHANGES, LoginError, OidcClient
from tunnel_relay.identity.pending import MAX_OF_ONE, REQUEST_SECONDS
from tunnel_relay.settings_issuers import AllowRule, OidcSettings
from tunnel_relay.store.base import Role

BACK = "https://relay.example.com/oauth/oidc/callback"
SECRET = "s:+"
OPS = AllowRule(group="ops", servers=("office/git",), roles=(Role.ADMIN,))


@dataclass
class Stage:
    """A relay as a client of a provider; `now` is its monotonic clock."""

    admin: Admin
    client: OidcClient
    provider: FalseProvider
    now: float = 0.0
    address: str = ""
    query: dict[str, str] = field(default_factory=dict)

    @property
    def user(self) -> str:
        return f"{self.provider.host.url}#u-1"

    def begin(self, browser: str = "b", **claims: Any) -> dict[str, str]:
        """Begin a login; returns what the provider sends the browser back with."""
        self.address = self.client.begin(browser, "waiting", BACK, "192.0.2.1")
        parsed = parse_qs(urlsplit(self.address).query, strict_parsing=True)
        self.query = {name: value for name, (value,) in parsed.items()}
        self.provider.answers(self.address, **claims)
        return {"state": self.query["state"], "code": "c", "iss": self.provider.host.url}

    async def refused(self, sent: dict[str, str], browser: str = "b") -> LoginError:
        with pytest.raises(LoginError) as caught:
            await self.client.finish(sent, browser)
        return caught.value


@asynccontextmanager
async def a_stage(
    folder: Path, secret: str | None = SECRET, metadata: dict[str, Any] | None = None, **more: Any
) -> AsyncIterator[Stage]:
    async with key_host() as host:
        provider = FalseProvider(host, **(metadata or {}))
        oidc = OidcSettings(issuer=host.url, client_id="relay", **({"allow": [OPS]} | more))
        settings = make_relay(folder).model_copy(update={"oidc": oidc})
        async with open_admin(settings, serving=True) as admin:
            admin.clock = lambda: NOW
            shown = None if secret is None else SecretStr(secret)
            made: list[Stage] = []
            client = OidcClient(admin, oidc, shown, lambda: made[0].now if made else 0.0)
            stage = Stage(admin, client, provider)
            made.append(stage)
            await client.provider.fetch()
            yield stage


@pytest.fixture
async def stage(tmp_path: Path) -> AsyncIterator[Stage]:
    async with a_stage(tmp_path) as made:
        yield made


async def test_a_user_logs_in_and_is_what_their_groups_make_them(stage: Stage) -> None:
    sent = stage.begin()
    assert stage.query["response_type"] == "code"
    assert stage.query["redirect_uri"] == BACK
    assert stage.query["scope"] == "openid profile"
    user, then, _ = await stage.client.finish(sent, "b")
    assert (user.key, then) == (stage.user, "waiting")
    assert (user.name, user.servers, user.roles) == (
        "Ada",
        ("office/git",),
        (Role.USER, Role.ADMIN),
    )
    (stored,) = await stage.admin.store.users()
    assert stored == user
    body = stage.provider.host.bodies[-1].decode()
    form = {name: value for name, (value,) in parse_qs(body).items()}
    assert "client_secret" not in form
    digest = hashlib.sha256(form["code_verifier"].encode()).digest()
    challenge = base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
    assert (stage.query["code_challenge"], stage.query["code_challenge_method"]) == (
        *(challenge, "S256"),
    )


async def test_logins_begun_elsewhere_do_not_end_this_one(stage: Stage) -> None:
    sent = stage.begin()
    for _ in range(MAX_OF_ONE):
        stage.client.begin("f", "waiting", BACK, "192.0.2.2")
    with pytest.raises(LoginError) as caught:
        stage.client.begin("f", "waiting", BACK, "192.0.2.2")
    assert caught.value.status == 429
    assert (await stage.client.finish(sent, "b"))[0].key == stage.user
    assert stage.begin()


async def test_a_state_works_once_in_its_browser_and_for_ten_minutes(stage: Stage) -> None:
    sent = stage.begin()
    assert (await stage.refused(sent, "another")).status == 400
    assert (await stage.refused(sent, "")).status == 400
    assert (await stage.client.finish(sent, "b"))[1] == "waiting"
    await stage.refused(sent)
    for state in ({}, {"state": ""}, {"state": "x"}, {"state": "\ud800"}):
        await stage.refused({"code": "c", **state})
    late = stage.begin()
    stage.now += REQUEST_SECONDS
    await stage.refused(late)
    assert stage.provider.host.asked.count("/token") == 1


@pytest.mark.parametrize(
    "changed",
    [
        {"iss": "https://evil.example"},
        {"iss": ""},
        {"error": "access_denied"},
        {"code": ""},
        {"code": "c" * 4097},
    ],
)
async def test_answers_that_lead_to_no_request(stage: Stage, changed: dict[str, str]) -> None:
    await stage.refused(stage.begin() | changed)
    assert "/token" not in stage.provider.host.asked


async def test_a_provider_that_names_itself_must_do_so_each_time(tmp_path: Path) -> None:
    """RFC 9207: mixed-up issuers."""
    says = {"authorization_response_iss_parameter_supported": True}
    async with a_stage(tmp_path, metadata=says) as stage:
        sent = stage.begin()
        del sent["iss"]
        await stage.refused(sent)
        assert await stage.client.finish(stage.begin(), "b")


@pytest.mark.parametrize(
    "claims",
    [
        {"nonce": "of another login"},
        {"nonce": None},
        {"aud": "another"},
        {"aud": ["relay", "another"]},
        {"azp": "another"},
        {"iss": "https://evil.example"},
        {"exp": int(NOW)},
        {"sub": None},
        {"auth_time": int(NOW) + 1},
        {"auth_time": "just now"},
        {"headers": {"typ": "at+jwt"}},
        {"headers": {"kid": "k2"}},
        {"headers": {"kid": "none"}},
        {"headers": {"jku": "https://evil.example"}},
    ],
)
async def test_id_tokens_that_log_nobody_in(stage: Stage, claims: dict[str, Any]) -> None:
    assert (await stage.refused(stage.begin(**claims))).status == 502
    assert await stage.admin.store.users() == []


@pytest.mark.parametrize("said", [None, int(NOW) - 7200, int(NOW)])
async def test_when_they_proved_who_they_are_is_what_the_provider_says(
    stage: Stage, said: int | None
) -> None:
    """U17: not when they came back, which takes no more than a browser the provider knows."""
    back = await stage.client.finish(stage.begin(auth_time=said), "b")
    assert back.logged_in == said
    assert not {"max_age", "prompt"} & set(stage.query)


@pytest.mark.parametrize(
    "answer",
    [
        {},
        {"id_token": 7},
        {"id_token": "eyJ.eyJ."},
        b"HTTP/1.1 400 No\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 302 Found\r\nLocation: /keys\r\nContent-Length: 0\r\n\r\n",
    ],
)
async def test_a_provider_that_answers_something_else(stage: Stage, answer: Any) -> None:
    sent = stage.begin()
    stage.provider.host.pages["/token"] = answer
    error = await stage.refused(sent)
    assert error.status == 502
    assert "id_token" not in error.text


async def test_who_has_no_rights_is_not_let_in_and_fills_no_table(stage: Stage) -> None:
    assert (await stage.refused(stage.begin(groups=["guests"]))).status == 403
    assert await stage.admin.store.users() == []
    await stage.client.finish(stage.begin(iat=int(NOW) - 9), "b")
    # S30: the next login takes away what the last one gave.
    user, *_ = await stage.client.finish(stage.begin(groups=[], iat=int(NOW) - 8), "b")
    assert (user.servers, user.roles) == ((), (Role.USER,))
    await stage.admin.user_disable(stage.user)
    assert (await stage.refused(stage.begin())).status == 403


async def test_without_rules_admins_say_who_may_log_in(tmp_path: Path) -> None:
    async with a_stage(tmp_path, allow=[]) as stage:
        assert (await stage.refused(stage.begin())).status == 403
        await stage.admin.user_add(stage.user, servers=["office/git"])
        user, *_ = await stage.client.finish(stage.begin(), "b")
        assert user.servers == ("office/git",)


async def test_how_the_relay_shows_its_secret(tmp_path: Path) -> None:
    posting = {"token_endpoint_auth_methods_supported": ["client_secret_post"]}
    async with a_stage(tmp_path, metadata=posting) as stage:
        await stage.client.finish(stage.begin(), "b")
        assert b"client_secret=s%3A%2B" in stage.provider.host.bodies[-1]
    (tmp_path / "public").mkdir()
    async with a_stage(tmp_path / "public", secret=None) as stage:
        await stage.client.finish(stage.begin(), "b")
        assert b"client_secret" not in stage.provider.host.bodies[-1]


async def test_without_metadata_nobody_is_sent_anywhere(stage: Stage) -> None:
    client = OidcClient(stage.admin, stage.admin.settings.oidc, None)  # type: ignore[arg-type]
    with pytest.raises(LoginError) as caught:
        client.begin("b", "waiting", BACK, "192.0.2.1")
    assert caught.value.status == 503
    stage.client._exchanging = EXCHANGES
    assert (await stage.refused(stage.begin())).status == 503
