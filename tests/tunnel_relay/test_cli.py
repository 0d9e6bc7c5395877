"""The command line as a person or a script meets it: real files, real exit codes."""

import json
import os
import ssl
import stat
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from tunnel_relay import cli_grants
from tunnel_relay.cli import build


class Shell:
    """Gives commands to one relay."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.config = folder / "relay.toml"

    def run(self, *words: str, code: int = 0, stdin: str = "") -> Result:
        result = CliRunner().invoke(
            build(), [*words, "--config", str(self.config)], input=stdin, catch_exceptions=False
        )
        assert result.exit_code == code, result.output
        return result

    def init(self, *words: str) -> Result:
        return self.run("init", "--state-dir", str(self.folder / "state"), *words)

    def json(self, *words: str) -> dict[str, Any]:
        answer = json.loads(self.run(*words, "--json").stdout)
        assert answer["schema_version"] == 1
        return dict(answer)


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    made = Shell(tmp_path)
    made.init("--public-url", "https://relay.example.com")
    return made


def test_init_writes_what_serve_needs(shell: Shell) -> None:
    for file in [shell.config, *(shell.folder / "state").iterdir()]:
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert tomllib.loads(shell.config.read_text())["public_url"] == "https://relay.example.com"
    assert shell.run("check-config").stdout == f"ok: {shell.config}\n"
    assert shell.json("check-config") == {"schema_version": 1, "ok": True, "problems": []}


def test_init_never_overwrites(shell: Shell) -> None:
    before = {file: file.read_bytes() for file in (shell.folder / "state").iterdir()}
    words = ("init", "--demo", "--state-dir", str(shell.folder / "state"))
    refused = shell.run(*words, code=1).stderr
    assert "MT1005" in refused
    assert f"next:  tunnel-relay serve --config {shell.config}, or edit that file" in refused
    shell.config.unlink()
    refused = shell.run(*words, code=1).stderr
    assert "MT1005" in refused
    assert "give both --config and --state-dir" in refused
    assert before == {file: file.read_bytes() for file in (shell.folder / "state").iterdir()}
    assert not shell.config.exists()


def test_a_refused_init_leaves_nothing_behind(tmp_path: Path) -> None:
    shell = Shell(tmp_path)
    state = ("--state-dir", str(tmp_path / "state"))
    url = ("--public-url", "https://relay.example.com")
    assert "MT1001" in shell.run("init", *state, *url, "--listen", "0.0.0.0:443", code=78).stderr
    shell.run("init", *state, code=2)
    shell.run("init", *state, *url, "--listen", "nonsense", code=2)
    bare = shell.run("init", *state, "--public-url", "relay.example.com", code=2).stderr
    assert "--public-url: write an origin like https://relay.example.com" in bare
    later = shell.run("init", *state, *url, "--listen", "0.0.0.0:443", code=78).stderr
    assert "MT1001: nothing was written: " in later
    assert "tunnel-relay init --help" in later
    assert list(tmp_path.iterdir()) == []


def test_init_demo_makes_a_certificate_that_works_for_localhost(tmp_path: Path) -> None:
    shell = Shell(tmp_path)
    said = shell.init("--demo", "--listen", "127.0.0.1:18443").stdout
    authority = tmp_path / "state" / "dev-ca.pem"
    assert f"tunnel-client enroll wss://localhost:18443 --ca-file {authority}" in said
    assert f"tunnel-relay serve --config {shell.config}" in said
    made = shell.run("tunnel", "create", "office", "--owner", "alice").stdout
    assert f"tunnel-client enroll wss://localhost:18443 --ca-file {authority}\n" in made
    for host in ("localhost", "127.0.0.1", "::1"):
        shake_hands(tmp_path / "state", host)
    with pytest.raises(ssl.SSLCertVerificationError):
        shake_hands(tmp_path / "state", "relay.example.com")


def shake_hands(state: Path, host: str) -> None:
    """Do a TLS handshake in memory, as strictly as Python can."""
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(state / "dev-cert.pem", state / "dev-key.pem")
    client = ssl.create_default_context(cafile=str(state / "dev-ca.pem"))
    client.verify_flags |= ssl.VERIFY_X509_STRICT
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = [
        client.wrap_bio(to_client, to_server, server_hostname=host),
        server.wrap_bio(to_server, to_client, server_side=True),
    ]
    for _ in range(10):
        for end in list(ends):
            try:
                end.do_handshake()
                ends.remove(end)
            except ssl.SSLWantReadError:
                pass
    assert ends == []


def test_a_tunnel_from_creation_to_deletion(shell: Shell) -> None:
    said = shell.run("tunnel", "create", "office", "--owner", "alice@example.com").stdout
    code = said.splitlines()[0]
    assert code.startswith("mtj_")
    assert said.count(code) == 1
    assert "  tunnel-client enroll wss://relay.example.com\n" in said
    [listed] = shell.json("tunnel", "list")["tunnels"]
    assert (listed["name"], listed["owner"]) == ("office", "alice@example.com")
    assert "office\talice@example.com\tnot connected" in shell.run("tunnel", "list").stdout
    assert code not in shell.run("tunnel", "show", "office").stdout
    assert shell.json("tunnel", "show", "office")["tunnel"]["instances"] == []
    assert shell.run("tunnel", "rotate", "office").stdout.splitlines()[0] != code
    assert shell.json("tunnel", "rotate", "office", "--drop-clients")["join_code"] != code
    assert shell.run("tunnel", "disable", "office").stdout.startswith("office is disabled; cut 0")
    assert shell.json("tunnel", "list")["tunnels"][0]["disabled"] is True
    assert shell.run("tunnel", "enable", "office").stdout == "office is enabled\n"
    shell.run("tunnel", "delete", "office", code=1, stdin="n\n")
    shell.run("tunnel", "delete", "office", "--yes")
    assert shell.run("tunnel", "list").stdout.startswith("no tunnels")


def test_a_session_from_creation_to_revocation(shell: Shell) -> None:
    shell.run("tunnel", "create", "office", "--owner", "alice")
    shell.run("user", "add", "bob", "--no-password")
    grant = ("session", "create", "--user", "bob", "--agent", "claude", "--server", "office/git")
    said = shell.run(*grant, "--ttl", "8h", "--idle", "15m").stdout
    token = said.splitlines()[0]
    assert token.startswith("mts_")
    assert said.count(token) == 1
    assert "https://relay.example.com/t/office/git/mcp" in said
    assert "It ends in 8h, or after 15m unused." in said
    [listed] = shell.json("session", "list")["sessions"]
    assert listed["expires"] - listed["created"] == 8 * 3600
    assert "bob\tclaude\toffice/git\tlive" in shell.run("session", "list").stdout
    session = listed["id"][:8]
    assert token not in shell.run("session", "show", session).stdout
    said = shell.run("session", "revoke", session, "--reason", "left").stdout
    assert "is revoked; cut 0 streams on 0 links" in said
    assert shell.json("session", "list")["sessions"] == []
    [ended] = shell.json("session", "list", "--all")["sessions"]
    assert (ended["state"], ended["reason"]) == ("revoked", "left")
    assert shell.json("session", "show", session)["session"] == ended
    status = shell.json("status")
    assert status["sessions"] == {"live": 0, "ended": 1}
    assert "not running" in shell.run("status").stdout


@pytest.mark.parametrize(
    ("words", "code", "error"),
    [
        (("tunnel", "show", "none"), 1, "MT1020"),
        (("tunnel", "create", "$(reboot)", "--owner", "a"), 2, "MT1022"),
        (("session", "show", "abcdef0"), 1, "MT1023"),
        (("session", "create", "--user", "u", "--agent", "a", "--server", "x"), 2, "MT1025"),
        (
            ("session", "create", "--user", "u", "--agent", "a", "--server", "x/y", "--ttl", "8"),
            2,
            "MT1024",
        ),
        (
            ("session", "create", "--user", "u", "--agent", "a", "--server", "x/y", "--ttl", "31d"),
            2,
            "MT1024",
        ),
        (("tunnel", "create", "office"), 2, "--owner"),
    ],
)
def test_a_refusal_has_a_code_and_an_exit_code(
    shell: Shell, words: tuple[str, ...], code: int, error: str
) -> None:
    result = shell.run(*words, code=code)
    assert error in result.stderr
    assert result.stdout == ""


def test_a_refusal_tells_the_cause_and_the_next_command(shell: Shell) -> None:
    assert shell.run("tunnel", "show", "none", code=1).stderr == (
        "MT1020: no tunnel is called 'none'\n"
        "  cause: no tunnel has this name\n"
        "  next:  tunnel-relay tunnel list\n"
    )


def test_a_broken_configuration_ends_with_78_and_names_the_line(shell: Shell) -> None:
    with shell.config.open("a") as file:
        file.write("max_tll = 5\n")
    line = len(shell.config.read_text().splitlines())
    expected = (
        f"{shell.config}:{line}: sessions.max_tll: unknown key; did you mean sessions.max_ttl?"
    )
    for words in (("check-config",), ("status",), ("serve",)):
        assert expected in shell.run(*words, code=78).stderr
    missing = Shell(shell.folder / "nowhere")
    assert "MT1002" in missing.run("status", code=78).stderr


def test_a_configuration_nested_too_deeply_is_a_broken_one(shell: Shell) -> None:
    shell.config.write_text(f"x = {'[' * 20_000}")
    assert "not TOML: nested too deeply" in shell.run("check-config", code=78).stderr


def test_check_config_finds_every_unusable_file(shell: Shell) -> None:
    state = shell.folder / "state"
    (state / "relay.key").chmod(0o644)
    (state / "mcp-session.key").write_text("changeme")
    (state / "relay.db").touch(0o600)
    (state / "relay.db").chmod(0o644)
    answer = shell.run("check-config", "--json", code=78)
    codes = [problem["code"] for problem in json.loads(answer.stdout)["problems"]]
    assert codes == ["MT1003", "MT1004", "MT1003"]
    shell.config.chmod(0o666)
    assert "MT1003" in shell.run("check-config", code=78).stderr


def test_a_database_that_cannot_be_used_ends_with_69(shell: Shell) -> None:
    database = shell.folder / "state" / "relay.db"
    database.touch(0o600)
    database.write_text("not a database, but long enough to be looked at" * 20)
    assert "MT1010" in shell.run("status", code=69).stderr


@pytest.mark.parametrize("kind", ["claude-code", "cursor", "vscode", "desktop", "json"])
def test_connect_info_names_the_url_and_no_token(shell: Shell, kind: str) -> None:
    said = shell.run("connect-info", "office/git", "--for", kind).stdout
    assert "https://relay.example.com/t/office/git/mcp" in said
    assert "mts_" not in said
    answer = shell.json("connect-info", "office/git", "--for", kind)
    assert answer["url"] == "https://relay.example.com/t/office/git/mcp"


def test_connect_info_of_a_tunnel_that_is_not_there_says_so(shell: Shell) -> None:
    assert "MT1020: no tunnel is called 'office'" in shell.run("connect-info", "office/git").stderr
    shell.run("tunnel", "create", "office", "--owner", "ada")
    assert shell.run("connect-info", "office/git").stderr == ""


def test_connect_info_of_a_server_that_is_not_offered_says_so(
    shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tunnel_relay.cli.run", lambda *_, **__: {"upstreams": ["git", "mail"]})
    assert shell.run("connect-info", "office/git").stderr == ""
    typo = shell.run("connect-info", "office/gti")
    assert typo.stderr == "warning: office offers git, mail now, not gti\n"
    assert "office/gti/mcp" in typo.stdout


def test_help_is_quick_because_nothing_heavy_is_imported() -> None:
    code = (
        "import sys\n"
        "from tunnel_relay.cli import build\n"
        "build().main(['session', 'create', '--help'], standalone_mode=False)\n"
        "heavy = {'sqlalchemy', 'alembic', 'uvicorn', 'rich', 'pydantic', 'cryptography',\n"
        "         'starlette', 'structlog', 'asyncio', 'websockets', 'mcp'}\n"
        "print(sorted(heavy & set(sys.modules)), file=sys.stderr)\n"
    )
    result = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert "--server TUNNEL/UPSTREAM" in result.stdout
    assert result.stderr == "[]\n"


def test_sessions_are_listed_by_user_by_text_and_not_all_of_them(shell: Shell) -> None:
    shell.run("tunnel", "create", "office", "--owner", "ada")
    shell.run("user", "add", "bob", "--no-password")
    for user, agent in (("ada", "one"), ("ada", "two"), ("bob", "one")):
        words = ("--user", user, "--agent", agent, "--server", "office/git")
        shell.run("session", "create", *words)

    def listed(*words: str) -> list[tuple[str, str]]:
        found = shell.json("session", "list", *words)["sessions"]
        return [(each["user"], each["agent"]) for each in found]

    assert listed() == [("bob", "one"), ("ada", "two"), ("ada", "one")]
    assert listed("--user", "ada") == [("ada", "two"), ("ada", "one")]
    assert listed("--query", "TWO") == [("ada", "two")]
    assert listed("--limit", "1") == [("bob", "one")]
    assert listed("--query", "nothing") == []
    assert "no sessions" in shell.run("session", "list", "--user", "eve").stdout


def test_a_long_listing_is_asked_for_in_pages(
    shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cli_grants, "PAGE", 2)
    shell.run("tunnel", "create", "office", "--owner", "ada")
    for number in range(5):
        words = ("--user", f"u{number}", "--agent", "a", "--server", "office/git")
        shell.run("user", "add", f"u{number}", "--no-password")
        shell.run("session", "create", *words)
    for limit, users in (("9", "43210"), ("5", "43210"), ("4", "4321"), ("3", "432")):
        found = shell.json("session", "list", "--limit", limit)["sessions"]
        assert [each["user"] for each in found] == [f"u{number}" for number in users]
    assert len(shell.json("session", "list")["sessions"]) == 5


def test_init_may_leave_the_console_out(tmp_path: Path) -> None:
    shell = Shell(tmp_path)
    said = shell.init("--public-url", "https://a.example", "--admin-listen", "none").stdout
    assert "console" not in said
    assert "admin" not in tomllib.loads(shell.config.read_text())


def test_init_tells_how_to_get_into_the_console(shell: Shell, tmp_path: Path) -> None:
    admin = tomllib.loads(shell.config.read_text())["admin"]
    assert admin == {"host": "127.0.0.1", "port": 8444}
    other = Shell(tmp_path / "other")
    other.folder.mkdir()
    words = ("--public-url", "https://a.example", "--admin-listen", "localhost:9000")
    said = other.init(*words).stdout
    assert "user add" in said
    assert "http://localhost:9000" in said
    open_ = Shell(tmp_path / "open")
    open_.folder.mkdir()
    refused = open_.run(
        *("init", "--state-dir", str(open_.folder / "s"), "--public-url", "https://a.example"),
        *("--admin-listen", "0.0.0.0:8444"),
        code=78,
    )
    assert "[admin.tls]" in refused.stderr  # U14
