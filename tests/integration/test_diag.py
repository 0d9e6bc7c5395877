"""Both programs' archives, of a real lab with canaries in it: none is in any member."""

import base64
import json
import secrets
import stat
import tarfile
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest
from pydantic import SecretStr

from tests.helpers.recording_upstream import recording_upstream
from tests.helpers.tunnel import TUNNEL, HttpUpstream, Lab, make_lab
from tests.integration.scene import SERVER

pytestmark = [pytest.mark.system]
CREDENTIAL = "kF7%wQ2/zL9+xR4!vB8mN1cT6yH3"
COMMENT = "canary-of-a-comment"


def members(path: Path) -> dict[str, bytes]:
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    with tarfile.open(path) as tar:
        found = {each.name.partition("/")[2]: tar.extractfile(each) for each in tar.getmembers()}
        return {name: file.read() for name, file in found.items() if file is not None}


def spellings(secret: str) -> list[bytes]:
    raw = secret.encode()
    ways = [raw, raw.hex().encode(), quote(secret, safe="").encode(), base64.b64encode(raw)[:-4]]
    return [*ways, json.dumps(secret)[1:-1].encode()]


async def test_the_archives_tell_much_and_no_secret() -> None:
    def prepare(lab: Lab) -> None:
        lab.policy += f"# {COMMENT}\n"

    async with recording_upstream() as upstream:
        server = HttpUpstream(upstream.url, SecretStr(CREDENTIAL))
        async with make_lab({SERVER: server}, prepare=prepare) as lab:
            token = (await lab.session(SERVER))["token"]
            mine, theirs = lab.folder / "client.tgz", lab.folder / "relay.tgz"
            said = await lab.client_command("diag", "--output", str(mine), "--with-policy")
            assert f"tar tzf {mine}" in said
            await lab.relay_command("diag", "--output", str(theirs))
            await _stopped(lab)
    for secret in (CREDENTIAL, token, COMMENT):
        for each in _KEPT.values():
            for name, content in each.items():
                for way in spellings(secret):
                    assert way not in content, (name, secret)


_KEPT: dict[str, dict[str, bytes]] = {}


async def _stopped(lab: Lab) -> None:
    for name in ("client", "relay"):
        found = members(lab.folder / f"{name}.tgz")
        _KEPT[name] = found
        manifest = json.loads(found["manifest.json"])
        assert manifest["missing"] == []
        assert {each["name"] for each in manifest["members"]} == set(found) - {"manifest.json"}
        assert json.loads(found["tasks.json"])["tasks"]
        assert json.loads(found["audit-verify.json"])["ok"] is True
    assert "relay" in json.loads(_KEPT["client"]["config.json"])
    assert json.loads(_KEPT["relay"]["store.json"])["revision"]
    await lab.stop()
    late = lab.folder / "late.tgz"
    await lab.client_command("diag", "--output", str(late))
    missing = json.loads(members(late)["manifest.json"])["missing"]
    assert {"status.json", "tasks.json"} <= {each["name"] for each in missing}


class Canaries:
    """Secrets of every kind, each of its own; `file` keeps one as the configuration wants it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.planted: dict[str, str] = {}

    def new(self, name: str) -> str:
        """Return a fresh one; made of words and signs, it does not look random."""
        self.planted[name] = f"{name}/{secrets.randbelow(10**12):012d}%&canary"
        return self.planted[name]

    def file(self, name: str) -> str:
        """Return `file:PATH` of a fresh one."""
        place = self.folder / f"{name}.kept"
        place.touch(0o600)
        place.write_text(self.new(name) + "\n")
        return f"file:{place}"

    def keys(self, *folders: Path) -> None:
        """Note the middle of every private key there is."""
        for path in (each for folder in folders for each in sorted(folder.rglob("*"))):
            if path.is_file() and b"PRIVATE KEY" in (content := path.read_bytes()):
                lines = content.decode().splitlines()
                self.planted[str(path)] = max(lines[1:-1], key=len)

    def seen(self, archive: dict[str, bytes]) -> Iterator[tuple[str, str]]:
        """Yield which is in which member."""
        for name, secret in self.planted.items():
            for member, content in archive.items():
                if any(way in content for way in spellings(secret)):
                    yield name, member


def every_kind_of_the_client(canary: Canaries) -> str:
    """Return tables with a secret wherever the configuration takes one, and where none belongs."""
    origin = "https://127.0.0.1:9"
    (canary.folder / "user-ada.kept").touch(0o600)
    (canary.folder / "user-ada.kept").write_text(canary.new("user-ada"))
    credentials = {
        "bearer": f'value = "{canary.file("bearer")}"',
        "header": f'name = "x-key", value = "{canary.file("header")}"',
        "api-key": f'name = "x-key", value = "{canary.file("api-key")}"',
        "basic": f'user = "u", value = "{canary.file("basic")}"',
        "peruser": f'value = "{canary.file("fallback")}-{{user}}", '
        f'users = {{ ada = "file:{canary.folder / "user-ada.kept"}" }}, lists_as = "ada"',
        "client-credentials": f'token_url = "{origin}/t", client_id = "c", '
        f'client_secret = "{canary.file("client-secret")}"',
        "token-exchange": f'token_url = "{origin}/t", client_id = "c", '
        f'client_secret = "{canary.file("exchange-secret")}", value = "{canary.file("subject")}"',
    }
    kinds = {"api-key": "api_key", "peruser": "bearer"}
    text = ""
    for name, given in credentials.items():
        kind = kinds.get(name, name.replace("-", "_"))
        text += f'[[upstream]]\nname = "{name}"\nurl = "{origin}/mcp"\n'
        text += f'credential = {{ kind = "{kind}", origin = "{origin}", {given} }}\n'
    plain, argument, query = (canary.new(each) for each in ("env-plain", "argument", "query"))
    text += f"""
[[upstream]]
name = "program"
command = ["/bin/false", "--password={argument}"]
env = {{ PLAIN = "{plain}", KEPT = "{canary.file("env-file")}" }}
[[upstream]]
name = "asked"
url = "{origin}/mcp?key={quote(query, safe="")}"
[vault]
address = "{origin}"
role_id = "{canary.file("role")}"
secret_id = "{canary.file("role-secret")}"
[[audit.export]]
name = "far"
to = "{origin}/logs"
token = "{canary.file("export")}"
"""
    return text


async def test_no_kind_of_secret_of_the_client_is_in_its_archive(tmp_path: Path) -> None:
    canary = Canaries(tmp_path)
    async with make_lab({}) as lab:
        (lab.folder / "join").write_text(canary.new("join"))
        with lab.client_config.open("a") as config:
            config.write(every_kind_of_the_client(canary))
        text = lab.client_config.read_text()
        proxied = f'[relay]\nproxy_auth = "{canary.file("proxy")}"\n'
        lab.client_config.write_text(text.replace("[relay]\n", proxied))
        canary.keys(lab.folder / "client")
        await lab.client_command("diag", "--output", str(tmp_path / "a.tgz"), "--with-policy")
        found = members(tmp_path / "a.tgz")
    assert len(canary.planted) > 18
    assert "upstream" in json.loads(found["config.json"]), found["manifest.json"]
    assert list(canary.seen(found)) == []


@pytest.mark.slow
async def test_no_kind_of_secret_of_the_relay_is_in_its_archive(tmp_path: Path) -> None:
    canary = Canaries(tmp_path)
    async with make_lab({}) as lab:
        place = tmp_path / "password"
        place.touch(0o600)
        place.write_text(canary.new("password"))
        add = ("user", "add", "root", "--role", "admin", "--password-file", str(place))
        await lab.relay_command(*add)
        for name, words in {
            "admin token": ("user", "token", "root"),
            "session": ("session", "create", "--user", "root", "--agent", "x"),
            "join code": ("tunnel", "create", "another", "--owner", "root"),
            "agent": ("agent", "add", "desk", "--redirect-uri", "http://127.0.0.1:9/c", "--secret"),
        }.items():
            more = ("--server", f"{TUNNEL}/x", "--ttl", "1h") if name == "session" else ()
            made = await lab.relay_json(*words, *more)
            (canary.planted[name],) = (
                made[key] for key in ("token", "join_code", "secret") if key in made
            )
        text = lab.relay_config.read_text()
        text += f"""
[approvals]
webhook = "https://127.0.0.1:9/hook?key={quote(canary.new("hook"), safe="")}"
webhook_secret = "{canary.file("webhook")}"
webhook_hosts = ["127.0.0.1"]
[oidc]
issuer = "https://127.0.0.1:9"
client_id = "c"
client_secret = "{canary.file("oidc")}"
[[audit.export]]
name = "far"
to = "https://127.0.0.1:9/logs"
token = "{canary.file("export")}"
"""
        lab.relay_config.write_text(text)
        canary.keys(lab.folder / "relay")
        await lab.relay_command("diag", "--output", str(tmp_path / "a.tgz"), "--with-policy")
        found = members(tmp_path / "a.tgz")
    assert len(canary.planted) > 9
    assert "approvals" in json.loads(found["config.json"]), found["manifest.json"]
    assert list(canary.seen(found)) == []
