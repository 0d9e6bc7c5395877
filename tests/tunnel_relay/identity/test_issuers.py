"""What issuers' tokens open: sessions bound to user, agent and server, until somebody says no."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anyio
import pytest
from sqlalchemy import text

from tests.tunnel_relay.identity import minting
from tests.tunnel_relay.identity.key_host import KeyHost, key_host
from tests.tunnel_relay.identity.minting import BAD, NOW, OTHER, TIMED, rsa_jwk, sign
from tests.tunnel_relay.identity.running import running
from tests.tunnel_relay.making import make_relay
from tunnel_relay.admin.runtime import open_admin
from tunnel_relay.admin.service import Admin
from tunnel_relay.identity import issuers as under_test
from tunnel_relay.identity import signed
from tunnel_relay.identity.issuers import Accepted, Issuers, No, Waits
from tunnel_relay.ratelimit import RateLimit
from tunnel_relay.settings import Settings
from tunnel_relay.settings_issuers import AllowRule, IssuerSettings
from tunnel_relay.store.base import Door, Role, Session

GIT, MAIL = "office/git", "office/mail"
OPS = AllowRule(group="ops", servers=(GIT,))
ALL = AllowRule(group="all", servers=("office/*",), roles=(Role.AUDITOR,))


@dataclass
class Stage:
    """A relay that trusts a host of keys; its clock stands at `now`."""

    host: KeyHost
    admin: Admin
    issuers: Issuers
    now: float = NOW

    @property
    def user(self) -> str:
        return f"{self.host.url}#u-1"

    def token(self, place: str = GIT, **values: Any) -> str:
        claims = {"iss": self.host.url, "aud": f"https://relay.example.com/t/{place}/mcp"}
        return sign(minting.changed(**(claims | values)))

    async def use(self, token: str, place: str = GIT, tick: float = 0.0) -> Session | No:
        """Bring a token, and wait as the gateway does."""
        judged = self.issuers.judge(token, place, "192.0.2.1", tick)
        if isinstance(judged, Waits):
            with anyio.fail_after(10):
                judged = await self.issuers.settle(judged, lambda: tick)
        if isinstance(judged, No):
            return judged
        assert judged.session is not None
        return judged.session

    async def opened(self, token: str, place: str = GIT) -> Session:
        session = await self.use(token, place)
        assert isinstance(session, Session)
        assert session.place == place
        return session

    def restarted(self) -> None:
        """Forget all verdicts, and nothing else."""
        keys = self.issuers._issuers
        self.issuers = Issuers(self.admin)
        self.issuers._issuers = keys


def settings(folder: Path, url: str, **more: Any) -> Settings:
    made = make_relay(folder) if not (folder / "relay.toml").exists() else None
    found = made or Settings(public_url=("https://relay.example.com",), state_dir=folder / "state")
    issuer = IssuerSettings(url=url, **({"allow": [OPS, ALL]} | more))
    return found.model_copy(update={"issuer": [issuer]})


@asynccontextmanager
async def a_stage(folder: Path, host: KeyHost, **more: Any) -> AsyncIterator[Stage]:
    async with open_admin(settings(folder, host.url, **more), serving=True) as admin:
        stage = Stage(host, admin, Issuers(admin))
        admin.clock = lambda: stage.now
        if "office" not in admin.tunnels:
            await admin.tunnel_create("office", "olga")
        for issuer in stage.issuers._issuers.values():
            await issuer.provider.fetch()
        yield stage


@pytest.fixture
async def host() -> AsyncIterator[KeyHost]:
    async with key_host() as host:
        host.be_issuer()
        yield host


@pytest.fixture
async def stage(tmp_path: Path, host: KeyHost) -> AsyncIterator[Stage]:
    async with a_stage(tmp_path, host) as stage:
        yield stage


async def test_a_token_opens_a_session_that_is_like_any_other(stage: Stage) -> None:
    token = stage.token()
    session = await stage.opened(token)
    assert (session.user, session.agent, session.door) == (stage.user, "desk", Door.ISSUER)
    assert session.granted_by == stage.host.url
    user = stage.admin.directory.users[stage.user]
    assert (user.name, user.groups, user.servers) == ("Ada", ("ops", "dev"), (GIT,))
    assert (await stage.admin.store.sessions())[0].id == session.id
    again = stage.issuers.judge(token, GIT, "", 0)
    assert isinstance(again, Accepted)
    assert stage.admin.session(session.id).calls == 2


@pytest.mark.parametrize("name", BAD)
async def test_h06_what_is_not_good_opens_nothing(
    stage: Stage, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(minting.GOOD, "iss", stage.host.url)
    assert await stage.use(BAD[name]()) is No.TOKEN
    assert stage.admin.sessions.all() == []
    # Nothing a token says is ever fetched.
    assert set(stage.host.asked) <= {"/.well-known/openid-configuration", "/keys"}


async def test_h06_what_is_bad_now_may_be_good_later_and_the_other_way_round(stage: Stage) -> None:
    early, short = stage.token(nbf=int(NOW) + 5), stage.token(exp=int(NOW) + 5)
    assert await stage.use(early) is No.TOKEN
    assert isinstance(await stage.use(short), Session)
    stage.now += 5
    assert isinstance(await stage.use(early), Session)
    assert await stage.use(short) is No.TOKEN
    assert set(TIMED) < set(BAD)


async def test_s16_binding_is_issuer_subject_agent_and_server(stage: Stage) -> None:
    """S02, S03: another user, or another agent of the same user, gets a session of its own."""
    first = await stage.opened(stage.token())
    same = await stage.opened(stage.token(jti="other", sid="other", iat=int(NOW) - 5, email="x@y"))
    assert same.id == first.id
    for name, value in (("sub", "u-2"), ("client_id", "chat")):
        other = await stage.opened(stage.token(GIT, **{name: value, "iat": int(NOW) - 5}))
        assert other.id != first.id
    mail = await stage.opened(stage.token(MAIL, groups=["all"], iat=int(NOW)), MAIL)
    assert mail.id != first.id
    stage.restarted()
    assert (await stage.opened(stage.token(groups=["all"], iat=int(NOW)))).id == first.id


async def test_h07_a_token_is_for_the_server_it_names(stage: Stage) -> None:
    token = stage.token(groups=["all"])
    assert await stage.use(token, MAIL) is No.TOKEN
    assert isinstance(await stage.use(token), Session)
    assert await stage.use(token, MAIL) is No.TOKEN
    both = [f"https://relay.example.com/t/{place}/mcp" for place in (GIT, MAIL)]
    wide = stage.token(groups=["all"], aud=both)
    assert (await stage.opened(wide)).place == GIT
    assert (await stage.opened(wide, MAIL)).place == MAIL


async def test_who_may_not_use_a_server_learns_nothing_and_fills_no_table(stage: Stage) -> None:
    for place in (MAIL, "office/none", "nowhere/git"):
        assert await stage.use(stage.token(place), place) is No.SERVER
    assert await stage.use(stage.token(sub="u-9", groups=["guests"])) is No.SERVER
    assert await stage.use(stage.token(sub="u-9", groups=None)) is No.SERVER
    assert f"{stage.host.url}#u-9" not in stage.admin.directory.users


async def test_s30_who_leaves_a_group_loses_its_servers_with_the_next_token(stage: Stage) -> None:
    old = stage.token(MAIL, groups=["ops", "all"])
    mail = await stage.opened(old, MAIL)
    git = await stage.opened(stage.token(groups=["ops", "all"]))
    assert Role.AUDITOR in stage.admin.directory.users[stage.user].roles
    new = stage.token(groups=["ops"], iat=int(NOW) - 9)
    assert (await stage.opened(new)).id == git.id
    assert stage.admin.sessions.get(mail.id).revoked  # type: ignore[union-attr]
    assert stage.admin.directory.users[stage.user].roles == (Role.USER,)
    # The older token brings nothing back: not from memory, not judged anew.
    for _ in range(2):
        assert await stage.use(old, MAIL) is No.SERVER
        stage.restarted()
    # And the group comes back with a newer one.
    assert await stage.opened(stage.token(MAIL, groups=["all"], iat=int(NOW) - 8), MAIL)


async def test_s30_of_two_tokens_of_one_second_what_both_allow(stage: Stage) -> None:
    assert await stage.opened(stage.token(MAIL, groups=["all"]), MAIL)
    assert await stage.use(stage.token(groups=[])) is No.SERVER
    assert await stage.use(stage.token(MAIL, groups=["all"], jti="x"), MAIL) is No.SERVER


async def test_what_an_admin_revoked_no_token_of_that_login_opens(stage: Stage) -> None:
    """S07: neither the same token nor refreshed ones, whatever iat they have."""
    token = stage.token()
    session = await stage.opened(token)
    await stage.admin.session_revoke(session.id, "laptop lost")
    stage.now += 300
    refreshed = stage.token(iat=int(stage.now))
    known = stage.token(iat=int(stage.now), auth_time=int(NOW))
    for one in (token, refreshed, known):
        assert await stage.use(one) is No.TOKEN
    stage.restarted()
    assert await stage.use(refreshed) is No.TOKEN
    # Another agent of theirs was not meant.
    assert isinstance(await stage.use(stage.token(client_id="chat")), Session)
    fresh = stage.token(iat=int(stage.now), auth_time=int(NOW) + 1)
    assert (await stage.opened(fresh)).id != session.id
    # The old ones do not ride along.
    assert await stage.use(refreshed) is No.TOKEN
    assert isinstance(await stage.use(fresh), Session)


async def test_a_bar_outlives_a_restart_and_is_lifted_by_an_admin(
    tmp_path: Path, host: KeyHost
) -> None:
    async with a_stage(tmp_path, host) as stage:
        session = await stage.opened(stage.token())
        assert (await stage.admin.session_revoke(session.id))["stored"]
    async with a_stage(tmp_path, host) as stage:
        assert await stage.use(stage.token()) is No.TOKEN
        (bar,) = await stage.admin.session_barred()
        assert (bar["session"], bar["user"], bar["server"]) == (session.id, stage.user, GIT)
        await stage.admin.session_lift(session.id[:12])
        assert isinstance(await stage.use(stage.token()), Session)
    async with a_stage(tmp_path, host) as stage:
        assert await stage.admin.session_barred() == []


async def test_locks_and_switches_hold_against_a_good_token(stage: Stage) -> None:
    admin, token = stage.admin, stage.token()
    for kind, subject in (
        *(("user", stage.user), ("agent", "desk")),
        *(("upstream", GIT), ("tunnel", "office")),
    ):
        lock = await admin.lock_add(kind, subject, "test")
        assert await stage.use(token) is No.TOKEN
        await admin.lock_remove(lock["lock"]["id"])
    first = await stage.opened(token)
    await admin.user_disable(stage.user)
    assert await stage.use(token) is No.TOKEN
    await admin.user_enable(stage.user)
    assert (await stage.opened(token)).id != first.id
    await admin.tunnel_disable("office")
    assert await stage.use(token) is No.TOKEN


async def test_a_session_that_ended_by_time_is_followed_by_another(stage: Stage) -> None:
    token = stage.token(exp=int(NOW) + 10 * 86400)
    first = await stage.opened(token)
    stage.now += first.idle
    second = await stage.opened(token)
    assert second.id != first.id
    stage.now = second.expires
    assert await stage.opened(token) not in (first, second)


async def test_a_key_that_vanished_opens_nothing_from_then_on(stage: Stage) -> None:
    token = stage.token()
    accepted = stage.issuers.judge(token, GIT, "", 0)
    assert isinstance(accepted, Waits)
    kept = accepted.accepted
    assert kept is not None
    before = kept.good
    await stage.opened(token)
    (issuer,) = stage.issuers._issuers.values()
    stage.host.be_issuer({"keys": [rsa_jwk(OTHER)]})
    await issuer.provider.fetch()
    assert (before, kept.good) == (True, False)
    assert await stage.use(token) is No.TOKEN
    claims = {"iss": stage.host.url, "aud": minting.RESOURCE}
    assert isinstance(await stage.use(sign(minting.changed(**claims), OTHER)), Session)


async def test_an_unknown_key_is_waited_for_once(stage: Stage) -> None:
    token = sign(minting.changed(iss=stage.host.url), OTHER, kid="next")
    (issuer,) = stage.issuers._issuers.values()
    assert await stage.use(token) is No.TOKEN  # fetched a moment ago
    stage.host.be_issuer({"keys": [rsa_jwk(OTHER, kid="next")]})
    issuer.provider._began = None
    async with running(stage.issuers.run):
        assert isinstance(await stage.use(token), Session)


async def test_without_keys_nobody_can_tell(tmp_path: Path, host: KeyHost) -> None:
    host.pages.clear()
    async with a_stage(tmp_path, host) as stage:
        assert await stage.use(stage.token()) is No.LATER
        assert await stage.use(stage.token(exp=1)) is No.TOKEN


async def test_a_database_that_refuses_opens_nothing(stage: Stage) -> None:
    async with stage.admin.store.transaction() as connection:  # type: ignore[attr-defined]
        await connection.execute(text("ALTER TABLE sessions RENAME TO away"))
    assert await stage.use(stage.token()) is No.LATER
    assert stage.admin.sessions.all() == []
    async with stage.admin.store.transaction() as connection:  # type: ignore[attr-defined]
        await connection.execute(text("ALTER TABLE away RENAME TO sessions"))
    assert isinstance(await stage.use(stage.token()), Session)


async def test_many_at_once_open_one_session(stage: Stage) -> None:
    found: list[Session | No] = []

    async def use(number: int) -> None:
        found.append(await stage.use(stage.token(jti=str(number))))

    async with anyio.create_task_group() as tasks:
        for number in range(20):
            tasks.start_soon(use, number)
    assert len({each.id for each in found if isinstance(each, Session)}) == 1
    assert len(stage.admin.sessions.all()) == 1
    assert stage.issuers._turns._locks == {}


async def test_a_user_has_no_more_sessions_than_allowed(tmp_path: Path, host: KeyHost) -> None:
    async with a_stage(tmp_path, host) as stage:
        limits = stage.admin.settings.limits.model_copy(update={"user_sessions": 1})
        stage.admin.settings = stage.admin.settings.model_copy(update={"limits": limits})
        assert isinstance(await stage.use(stage.token()), Session)
        assert await stage.use(stage.token(client_id="chat")) is No.SESSIONS


async def test_scopes_and_audience_of_ones_own(tmp_path: Path, host: KeyHost) -> None:
    async with a_stage(tmp_path, host, scope="mcp tools", audience="mcp") as stage:
        for _ in range(2):
            assert await stage.use(stage.token(scope="mcp")) is No.SCOPE
        everywhere = stage.token(aud="mcp", groups=["all"], scope="tools mcp")
        assert (await stage.opened(everywhere)).place == GIT
        assert (await stage.opened(everywhere, MAIL)).place == MAIL


async def test_without_rules_admins_say_who_may_what(tmp_path: Path, host: KeyHost) -> None:
    async with a_stage(tmp_path, host, allow=[]) as stage:
        assert await stage.use(stage.token()) is No.SERVER
        await stage.admin.user_add(stage.user, servers=[GIT], groups=["own"])
        assert isinstance(await stage.use(stage.token()), Session)
        assert stage.admin.directory.users[stage.user].groups == ("own",)


async def test_other_rules_after_a_restart_hold_at_once(tmp_path: Path, host: KeyHost) -> None:
    async with a_stage(tmp_path, host) as stage:
        session = await stage.opened(stage.token(groups=["ops"]))
    async with a_stage(tmp_path, host, allow=[ALL]) as stage:
        await stage.issuers.apply_rules()
        assert stage.admin.sessions.get(session.id).revoked  # type: ignore[union-attr]
        assert await stage.use(stage.token(groups=["ops"])) is No.SERVER
        assert await stage.admin.session_barred() == []
    async with a_stage(tmp_path, host) as stage:
        await stage.issuers.apply_rules()
        assert isinstance(await stage.use(stage.token(groups=["ops"])), Session)


async def test_d19_bad_tokens_cost_no_more_signatures_than_allowed(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    checked = 0
    check: Callable[..., None] = signed.check_signature

    def count(*args: Any) -> None:
        nonlocal checked
        checked += 1
        check(*args)

    monkeypatch.setattr(under_test, "check_signature", count)
    monkeypatch.setattr(under_test, "MAX_KEPT", 50)
    stage.restarted()
    good = stage.token()
    await stage.opened(good)
    head, body, signature = good.split(".")
    bogus = [f"{head}.{body}.{signature[:-6]}{number:06d}" for number in range(3000)]
    outcomes = [stage.issuers.judge(one, GIT, "", 0) for one in bogus]
    assert checked <= 1 + under_test.CHECKS[1]
    assert set(outcomes) == {No.TOKEN, No.LATER}
    # The same again is known, and a good one that was judged is not held up.
    checked = 0
    assert stage.issuers.judge(bogus[240], GIT, "", 0) is No.TOKEN
    assert isinstance(stage.issuers.judge(good, GIT, "", 0), Accepted)
    assert checked == 0
    assert max(len(stage.issuers._bad), len(stage.issuers._kept)) <= 50


async def test_d19_who_guessed_too_often_gets_no_signature_checked(stage: Stage) -> None:
    guesses = RateLimit(1.0, 1)
    issuers = Issuers(stage.admin, guesses)
    issuers._issuers = stage.issuers._issuers
    (issuer,) = issuers._issuers.values()
    issuer.provider._began = None
    unknown = sign(minting.changed(iss=stage.host.url), OTHER, kid="next")
    assert isinstance(issuers.judge(unknown, GIT, "192.0.2.1", 0), Waits)
    assert isinstance(issuers.judge(stage.token(), GIT, "192.0.2.1", 0), Waits)
    guesses.take("192.0.2.1", 0)
    assert issuers.judge(unknown, GIT, "192.0.2.1", 0) is No.TOKEN
    assert issuers.judge(stage.token(jti="2"), GIT, "192.0.2.1", 0) is No.TOKEN
    assert isinstance(issuers.judge(stage.token(jti="3"), GIT, "192.0.2.2", 0), Waits)
