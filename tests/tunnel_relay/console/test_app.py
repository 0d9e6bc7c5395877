"""Every route and every command, for everybody: what is not in these tables fails (U04)."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from starlette.routing import Route

from tests.helpers.passkeys import SoftPasskey
from tests.integration.scene import eventually
from tests.tunnel_relay.approvals.scene import needs, with_passkey
from tests.tunnel_relay.console.stage import PEOPLE, Hand, Stage, a_console
from tests.tunnel_relay.console.test_passkeys import a_passkey, add
from tests.tunnel_relay.test_tools import ONE, told, word
from tunnel_relay.admin.commands import COMMANDS, DECISIONS, ON_PAGE, allows
from tunnel_relay.audit.purges import Purge
from tunnel_relay.console.app import ConsoleApp
from tunnel_relay.console.edits import mark
from tunnel_relay.store.base import Bar, Role

OPEN, ANYBODY = "open", "who may log in"
ROLES = {"uma": Role.USER, "otto": Role.AUDITOR, "pia": Role.APPROVER, "ada": Role.ADMIN}

PAGES: dict[str, tuple[Any, dict[str, Any]]] = {
    "GET /login": (OPEN, {}),
    "POST /login": (OPEN, {}),
    "GET /static/{name}": (OPEN, {"name": "style.css"}),
    "POST /logout": (ANYBODY, {}),
    "GET /": (ANYBODY, {}),
    "GET /live": (Role.AUDITOR, {}),
    "GET /events": (Role.AUDITOR, {}),
    "GET /events/after/{number:number}": (Role.AUDITOR, {"number:number": 99999}),
    "GET /approvals": (ANYBODY, {}),
    "GET /approvals/live": (ANYBODY, {}),
    "GET /approvals/count": (ANYBODY, {}),
    "GET /approvals/{approval}": (ANYBODY, {"approval": "an approval"}),
    "POST /approvals/{approval}/approve": (Role.APPROVER, {"approval": "an approval"}),
    "POST /approvals/{approval}/deny": (
        Role.APPROVER,
        {"approval": "an approval", "fields": {"reason": "no"}},
    ),
    "GET /passkeys": (ANYBODY, {}),
    "POST /passkeys/add": (Role.APPROVER, {}),
    "POST /passkeys/remove": (Role.ADMIN, {"fields": {"passkey": "of abe"}}),
    "GET /tunnels": (Role.AUDITOR, {}),
    "GET /tunnels/{name}": (Role.AUDITOR, {"name": "office"}),
    "POST /tunnels/create": (Role.ADMIN, {"fields": {"name": "fresh", "owner": "ada"}}),
    "POST /tunnels/{name}/rotate": (Role.ADMIN, {"name": "office"}),
    "POST /tunnels/{name}/disable": (Role.ADMIN, {"name": "spare"}),
    "POST /tunnels/{name}/enable": (Role.ADMIN, {"name": "spare"}),
    "GET /tunnels/{name}/tools/{upstream}": (Role.AUDITOR, {"name": "office", "upstream": "git"}),
    "GET /tunnels/{name}/tools/{upstream}/tool": (
        Role.AUDITOR,
        {"name": "office", "upstream": "git", "query": "name=look"},
    ),
    "GET /sessions": (ANYBODY, {}),
    "GET /sessions/{session}": (Role.AUDITOR, {"session": "of uma"}),
    "POST /sessions/{session}/revoke": (Role.ADMIN, {"session": "of uma"}),
    "GET /users": (Role.AUDITOR, {}),
    "GET /user": (Role.AUDITOR, {"query": "user=uma"}),
    "GET /user/could": (Role.AUDITOR, {"query": "user=uma&agent=bot"}),
    "POST /users/add": (Role.ADMIN, {"fields": {"user": "new"}}),
    "POST /users/change": (
        Role.ADMIN,
        {"fields": {"user": "ned", "was_servers": mark([]), "servers": "office/*"}},
    ),
    "POST /users/password": (Role.ADMIN, {"fields": {"user": "ned", "password": "x" * 12}}),
    "POST /users/disable": (Role.ADMIN, {"fields": {"user": "ned"}}),
    "POST /users/enable": (Role.ADMIN, {"fields": {"user": "ned"}}),
    "POST /users/revoke-token": (Role.ADMIN, {"fields": {"token": "of abe"}}),
    "GET /agents": (Role.AUDITOR, {}),
    "POST /agents/add": (
        Role.ADMIN,
        {"fields": {"agent": "fresh", "redirect_uris": "https://a.example/cb"}},
    ),
    "POST /agents/disable": (Role.ADMIN, {"fields": {"agent": "bot"}}),
    "POST /agents/enable": (Role.ADMIN, {"fields": {"agent": "bot"}}),
    "GET /locks": (Role.AUDITOR, {}),
    "POST /locks/add": (
        Role.ADMIN,
        {"fields": {"kind": "agent", "subject": "worm", "reason": "it is one", "ttl": "5m"}},
    ),
    "POST /locks/remove": (Role.ADMIN, {"fields": {"lock": "a lock"}}),
    "GET /audit": (Role.AUDITOR, {}),
    "POST /audit/verify": (Role.AUDITOR, {}),
    "GET /audit/checkpoint": (Role.AUDITOR, {}),
    "GET /audit/records/{seq:number}": (Role.AUDITOR, {"seq:number": "0"}),
    "GET /audit/sessions/{session}": (Role.AUDITOR, {"session": "of uma"}),
}
"""Who may use a page or form: its route -> the role it takes and what to send."""

ARGUMENTS: dict[str, dict[str, Any]] = {
    "status": {},
    "tool_list": {},
    "tool_show": {"server": "office/git", "tool": "look"},
    "policy_known": {"user": "uma"},
    "policy_map": {"user": "uma", "agent": "bot"},
    "approval_list": {},
    "approval_show": {"approval": "an approval"},
    "approval_approve": {"approval": "an approval"},
    "approval_deny": {"approval": "an approval", "reason": "no"},
    "tunnel_create": {"name": "made", "owner": "ada"},
    "tunnel_list": {},
    "tunnel_show": {"name": "office"},
    "tunnel_disable": {"name": "spare"},
    "tunnel_enable": {"name": "spare"},
    "tunnel_rotate": {"name": "spare"},
    "tunnel_delete": {"name": "spare"},
    "session_create": {"user": "uma", "agent": "bot", "server": "office/git"},
    "session_list": {},
    "session_show": {"session": "of abe"},
    "session_revoke": {"session": "of abe"},
    "session_barred": {},
    "session_lift": {"session": "a bar"},
    "lock_add": {"kind": "user", "subject": "mallory", "reason": "gone"},
    "lock_list": {},
    "lock_remove": {"lock": "a lock"},
    "user_add": {"user": "newer"},
    "user_list": {},
    "user_show": {"user": "uma"},
    "user_change": {"user": "ned", "groups": ["x"]},
    "user_password": {"user": "ned", "password": "y" * 12},
    "user_disable": {"user": "ned"},
    "user_enable": {"user": "ned"},
    "user_token": {"user": "ada"},
    "user_tokens": {},
    "user_token_revoke": {"token": "of abe"},
    "passkey_add": {"name": "a key", "credential": "AAAA", "key": "passkey:"},
    "passkey_list": {},
    "passkey_remove": {"passkey": "of abe"},
    "audit_query": {"kind": "admin."},
    "audit_show": {"seq": 0},
    "audit_replay": {"session": "of uma"},
    "report": {},
    "audit_state": {},
    "audit_verify": {},
    "audit_checkpoint": {},
    "audit_purge_ask": {"before": 1.0, "reason": "old"},
    "audit_purge_list": {},
    "audit_purge_confirm": {"purge_id": "a purge"},
    "agent_add": {"agent": "newer", "redirect_uris": ["https://a.example/cb"]},
    "agent_list": {},
    "agent_disable": {"agent": "bot"},
    "agent_enable": {"agent": "bot"},
}
"""What to send with every command."""


async def furnish(stage: Stage) -> dict[str, str]:
    """Make one of everything; returns the identifiers by the words of the tables."""
    admin = stage.admin
    await admin.tunnel_create("office", "ada")
    await admin.tunnel_create("spare", "ada")
    stage.links.offered = [told(ONE, word("look"))]
    await admin.user_add("ned")
    await admin.agent_add("bot", ["https://a.example/cb"])
    lock = await admin.lock_add("agent", "spider", "it crawls")
    admin.bars.put(Bar("b" * 32, "uma", "bot", "office", "git", 1.0, "gone"))
    theirs = {"a bar": "b" * 32}
    for user in ("uma", "abe"):
        made = await admin.session_create(user, "bot", "office/git")
        theirs[f"of {user}"] = made["session"]["id"]
    token = (await admin.user_token("abe"))["admin_token"]["id"]
    theirs["passkey of abe"] = (await with_passkey(admin, "abe", SoftPasskey.make())).id
    log = admin.records.log
    assert log is not None
    admin.purges.add(Purge("f" * 32, 1.0, "abe", "old", admin.clock()))
    theirs["a purge"] = "f" * 32
    log.add("session.made", {"session": theirs["of uma"], "user": "uma"})
    log._sign()
    await eventually(log.checkpoint)
    session = admin.sessions.get(theirs["of uma"])
    assert session is not None
    wanted = needs(users=("pia", "ada"))
    theirs["an approval"] = (await admin.approvals.ask(session, "send", None, wanted)).id
    return {**theirs, "a lock": lock["lock"]["id"], "token of abe": token}


def filled(values: dict[str, Any], made: dict[str, str]) -> dict[str, Any]:
    """Put real identifiers in place of words."""
    return {
        key: made.get(f"{key} {value}", made.get(str(value), value))
        for key, value in values.items()
    }


def named(routes: Iterable[Any]) -> dict[str, Route]:
    """Return the routes of pages by method and path; the API is one route of many methods."""
    found = {}
    for route in routes:
        assert isinstance(route, Route), "mounts and sockets would escape this test"
        if route.path == "/v1/{command:path}":
            continue
        assert route.methods
        for method in route.methods - {"HEAD"}:
            found[f"{method} {route.path}"] = route
    return found


async def send(hand: Hand, name: str, what: dict[str, Any], made: dict[str, str]) -> Any:
    method, _, path = name.partition(" ")
    for key, value in filled(what, made).items():
        path = path.replace("{" + key + "}", str(value))
    if method == "GET":
        return await hand.get(path + ("?" + what["query"] if "query" in what else ""))
    if path == "/passkeys/add":
        return await add(hand, a_passkey(hand))
    return await hand.post(path, filled(what.get("fields", {}), made))


def everything(stage: Stage) -> str:
    """Return all that commands could have changed."""
    admin = stage.admin
    parts = [admin.tunnels, admin.directory.agents, admin.sessions.all(), admin.locks.all()]
    users = {key: (user.roles, user.disabled) for key, user in admin.directory.users.items()}
    return repr(
        (parts, users, admin.passkeys.listed(), [each.id for each in admin.admin_tokens.working(0)])
    )


async def test_every_route_is_in_the_table(tmp_path: Path) -> None:
    async with a_console(tmp_path) as stage:
        assert isinstance(stage.app, ConsoleApp)
        assert set(named(stage.app.routes)) == set(PAGES)


def test_every_command_is_in_the_table() -> None:
    assert set(ARGUMENTS) == set(COMMANDS)


async def test_nobody_gets_past_the_login_page(tmp_path: Path) -> None:
    """U05: neither with an agent's token; an admin token is for the API alone."""
    async with a_console(tmp_path) as stage:
        made = await furnish(stage)
        session = (await stage.admin.session_create("ada", "bot", "office/git"))["token"]
        bearers = (None, session, await stage.token("uma"))
        before = everything(stage)
        for bearer in bearers:
            hand = stage.nobody()
            if bearer is not None:
                stage.http.headers["authorization"] = f"Bearer {bearer}"
            for name, (role, what) in PAGES.items():
                answer = await send(hand, name, what, made)
                if role == OPEN:
                    assert answer.status_code in (200, 403), name
                else:
                    assert answer.status_code == 303, name
                    assert answer.headers["location"] == "/login", name
                    assert "office" not in answer.text
            for command, arguments in ARGUMENTS.items():
                if bearer is not None and bearer.startswith("mta_"):
                    break
                answer = await hand.call(command, filled(arguments, made))
                refused = 403 if bearer and command in DECISIONS else 401
                assert answer.status_code == refused, command
        assert everything(stage) == before


@pytest.mark.parametrize("user", ["otto", "pia", "ada"])
async def test_pages_and_forms_are_for_those_of_the_role(tmp_path: Path, user: str) -> None:
    """A refused form changes nothing."""
    async with a_console(tmp_path) as stage:
        made = await furnish(stage)
        hand = await stage.logged_in(user)
        roles = {Role.USER, *map(Role, PEOPLE[user])}
        for name, (role, what) in PAGES.items():
            if role == OPEN or name == "POST /logout":
                continue
            before = everything(stage)
            answer = await send(hand, name, what, made)
            if role == ANYBODY or allows(roles, role):
                assert answer.status_code in (200, 204, 303), (name, answer.text)
                assert answer.headers.get("location") != "/login", name
            elif name == "POST /passkeys/remove" or "session" in what:
                assert answer.status_code in (403, 404), name
                assert everything(stage) == before
            else:
                assert answer.status_code == 403, (name, answer.status_code)
                assert everything(stage) == before, name
        answer = await hand.post("/logout")
        assert answer.headers["location"] == "/login"


@pytest.mark.parametrize("user", ["uma", "otto", "pia", "ada"])
async def test_commands_are_for_those_of_the_role(tmp_path: Path, user: str) -> None:
    """By token; a session of somebody else is unknown to who sees only what is theirs (U06)."""
    async with a_console(tmp_path) as stage:
        made = await furnish(stage)
        bearer = {"Authorization": f"Bearer {await stage.token(user)}"}
        roles = {Role.USER, *map(Role, PEOPLE[user])}
        for command, arguments in ARGUMENTS.items():
            before = everything(stage)
            sent = filled(arguments, made)
            answer = await stage.nobody().call(command, sent, headers=bearer)
            own_only = command in ("session_show", "session_revoke")
            if own_only and not roles & {Role.ADMIN, Role.AUDITOR}:
                assert answer.status_code == 404, command
                assert answer.json()["error"]["code"] == "MT1023"
            elif command == "session_revoke" and Role.ADMIN not in roles:
                assert answer.status_code == 403
            elif command in ON_PAGE and allows(roles, COMMANDS[command]):
                assert answer.json()["error"]["code"] == "MT1293"
            elif command == "passkey_remove" and Role.ADMIN not in roles:
                assert answer.json()["error"]["code"] == "MT1290"
            elif allows(roles, COMMANDS[command]):
                assert answer.status_code == 200, (command, answer.text)
            else:
                assert answer.status_code == 403, command
                assert answer.json()["error"]["code"] == "MT1056"
            if user != "ada":
                assert everything(stage) == before, command


async def test_users_find_and_end_their_own_sessions_only(tmp_path: Path) -> None:
    """U06: in listings and filters too."""
    async with a_console(tmp_path) as stage:
        made = await furnish(stage)
        bearer = {"Authorization": f"Bearer {await stage.token('uma')}"}

        async def ask(command: str, **arguments: Any) -> Any:
            return (await stage.nobody().call(command, arguments, headers=bearer)).json()

        for filters in ({}, {"state": "all"}, {"user": "uma"}, {"query": "git"}):
            found = await ask("session_list", **filters)
            assert [each["user"] for each in found["result"]["sessions"]] == ["uma"]
        assert (await ask("session_list", user="abe"))["result"]["sessions"] == []
        of_abe = made["of abe"]
        assert "error" in await ask("session_show", session=of_abe[:8])
        assert "error" in await ask("session_list", after=of_abe[:-1])
        done = await ask("session_revoke", session=made["of uma"], reason="done")
        assert done["result"]["session"]["state"] == "revoked"
        assert (await stage.admin.session_show(of_abe))["state"] == "live"


async def test_a_failure_shows_no_trace_of_itself(tmp_path: Path) -> None:
    """U20: no traceback, no documentation, no file names; the log has them."""
    async with a_console(tmp_path) as stage:
        hand = await stage.logged_in("ada")
        del stage.admin.directory  # something that no code expects
        answer = await hand.get("/users")
        assert answer.status_code == 500
        assert "Traceback" not in answer.text
        assert ".py" not in answer.text


@pytest.mark.parametrize(
    "path",
    ["/docs", "/redoc", "/openapi.json", "/metrics", "/debug", "/v1", "/static/", "/.git/config"],
)
async def test_there_is_nothing_else(tmp_path: Path, path: str) -> None:
    """U20."""
    async with a_console(tmp_path, people=False) as stage:
        answer = await stage.nobody().get(path)
        assert answer.status_code == 404
        assert "office" not in answer.text


@pytest.mark.parametrize(
    "path",
    [
        "/static/../pages.py",
        "/static/..%2fpages.py",
        "/static/%2e%2e/templates/base.html",
        "/static/....//style.css",
        "/static/style.css%00.html",
        "/static//etc/passwd",
        "/static/%2fetc%2fpasswd",
    ],
)
async def test_only_listed_files_are_served(tmp_path: Path, path: str) -> None:
    """U13."""
    async with a_console(tmp_path, people=False) as stage:
        answer = await stage.nobody().get(path)
        assert answer.status_code == 404
        assert (await stage.nobody().get("/static/htmx.min.js")).status_code == 200


async def test_no_page_can_be_framed_or_kept(tmp_path: Path) -> None:
    """U09: on every route, whatever it answers."""
    async with a_console(tmp_path) as stage:
        made = await furnish(stage)
        hand = await stage.logged_in("ada")
        for name, (_, what) in PAGES.items():
            if not name.startswith("GET"):
                continue
            answer = await send(hand, name, what, made)
            policy = answer.headers["content-security-policy"]
            assert "frame-ancestors 'none'" in policy, name
            assert "default-src 'none'" in policy, name
            assert "unsafe" not in policy, name
            assert answer.headers["x-frame-options"] == "DENY", name
            assert answer.headers["x-content-type-options"] == "nosniff", name
            assert answer.headers["referrer-policy"] == "same-origin", name
            assert "server" not in answer.headers, name
            if not name.startswith("GET /static"):
                assert answer.headers["cache-control"] == "no-store", name
        api = await hand.call("status")
        assert api.headers["cache-control"] == "no-store"
        assert "frame-ancestors 'none'" in api.headers["content-security-policy"]
