"""Verification, checkpoint and key, by command."""

import json
from pathlib import Path

from shared.audit.segments import segments
from tests.shared.audit_cli.logs import a_log, answered, run


async def test_a_log_is_verified_with_what_was_kept_of_it(tmp_path: Path) -> None:
    folder = await a_log(tmp_path / "log")
    key, point = tmp_path / "key", tmp_path / "point"
    key.write_text(answered("key", "--folder", folder)["public_key"])
    assert run("key", "--folder", folder).stdout.strip() == key.read_text()
    point.write_text(run("checkpoint", "--folder", folder).stdout)
    assert answered("checkpoint", "--folder", folder)["checkpoint"] == point.read_text()
    words = ("verify", "--folder", folder, "--key", key, "--checkpoint", point)
    assert answered(*words)["records"] == 63
    assert run(*words).stdout.startswith("ok: 63 records")
    last = segments(folder)[-1].path
    last.write_bytes(last.read_bytes().replace(b'"v":1', b'"v":2'))
    broken = run(*words)
    assert broken.exit_code == 1
    assert broken.stdout.startswith("BROKEN at record")
    assert json.loads(run(*words, "--json").stdout)["ok"] is False


async def test_what_is_no_key_and_what_signed_nothing_is_said(tmp_path: Path) -> None:
    folder = await a_log(tmp_path / "log", calls=1)
    (tmp_path / "key").write_text("nothing\n")
    done = run("verify", "--folder", folder, "--key", tmp_path / "key")
    assert "no public key" in done.output
    (folder / "checkpoints").write_text("")
    assert "nothing is signed yet" in run("checkpoint", "--folder", folder).output
