"""Both programs' archives, of a real lab with canaries in it: none is in any member."""

import base64
import json
import stat
import tarfile
from pathlib import Path
from urllib.parse import quote

import pytest
from pydantic import SecretStr

from tests.helpers.recording_upstream import recording_upstream
from tests.helpers.tunnel import HttpUpstream, Lab, make_lab
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
