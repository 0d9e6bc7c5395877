"""Verification, checkpoint and key, by command."""

import json
from pathlib import Path

from shared.audit.log import AuditLog
from shared.audit.private import write_private
from shared.audit.segments import segments
from shared.audit.tombstones import facts_of, write_start
from shared.keys import PrivateKey
from shared.record import encode
from shared.record.chain import line_of, link
from shared.record.checkpoint import Checkpoint, sign
from shared.record.model import TOMBSTONE
from shared.record.verify import Start
from tests.shared.audit_cli.logs import a_log, a_long_log, an_odd_log, answered, run


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


async def test_calls_that_do_not_fit_together_are_named(tmp_path: Path) -> None:
    folder = await an_odd_log(tmp_path / "log")
    done = run("verify", "--folder", folder)
    assert done.exit_code == 1
    why = r"record 1: ended without an intent: odd\u{1b}.1"
    assert done.stdout.splitlines() == [f"BROKEN at {why}"]


async def test_a_log_without_its_checkpoints_is_not_proven_unless_it_is_young(
    tmp_path: Path,
) -> None:
    """A06: what was written for minutes must have been signed, whoever wrote it."""
    long, young = await a_long_log(tmp_path / "long"), await a_log(tmp_path / "young")
    point = tmp_path / "point"
    point.write_text(run("checkpoint", "--folder", long).stdout)
    for folder in (long, young):
        (folder / "checkpoints").unlink()
    why = (
        "no checkpoint vouches for records 0 to 301, which must have been signed by now:"
        " they were written in more than 120 seconds"
    )
    done = run("verify", "--folder", long)
    assert (done.exit_code, done.stdout.splitlines()) == (1, [f"NOT PROVEN: {why}"])
    found = json.loads(run("verify", "--folder", long, "--json").stdout)
    assert (found["ok"], found["fault"], found["unproven"]) == (False, None, why)
    done = run("verify", "--folder", young)
    unsigned = "the last 63 are not signed yet"
    assert (done.exit_code, done.stdout.splitlines()[1]) == (0, unsigned)
    assert answered("verify", "--folder", long, "--checkpoint", point)["unproven"] is None


async def test_what_is_no_key_and_what_signed_nothing_is_said(tmp_path: Path) -> None:
    folder = await a_log(tmp_path / "log", calls=1)
    (tmp_path / "key").write_text("nothing\n")
    done = run("verify", "--folder", folder, "--key", tmp_path / "key")
    assert "no public key" in done.output
    (folder / "checkpoints").write_text("")
    assert "nothing is signed yet" in run("checkpoint", "--folder", folder).output
    (folder / "checkpoints").unlink()
    assert "nothing is signed yet" in run("checkpoint", "--folder", folder).output
    (folder / "checkpoints").mkdir()
    told = f"cannot read {folder / 'checkpoints'}: Is a directory"
    assert told in run("checkpoint", "--folder", folder).output


def test_a_folder_without_a_log_is_called_that(tmp_path: Path) -> None:
    for words in (("verify",), ("key",), ("checkpoint",)):
        done = run(*words, "--folder", tmp_path)
        assert (done.exit_code, done.output) == (1, f"Error: no log in {tmp_path}\n"), words


async def test_a_log_without_its_key_is_not_verified(tmp_path: Path) -> None:
    folder = await a_log(tmp_path / "log", calls=1)
    (folder / "key.pub").unlink()
    for command in ("verify", "key"):
        done = run(command, "--folder", folder)
        told = f"no public key in {folder / 'key.pub'}: No such file or directory"
        assert (done.exit_code, done.output) == (1, f"Error: {told}\n")


async def test_a_log_that_was_written_anew_below_a_tombstone_is_not_ok(tmp_path: Path) -> None:
    """A14: whoever has the key and the folder says that two people removed what was signed."""
    folder, point = await a_log(tmp_path / "log"), tmp_path / "point"
    point.write_text(run("checkpoint", "--folder", folder).stdout)
    for path in (*folder.glob("*.jsonl*"), *folder.glob("*.end"), folder / "checkpoints"):
        path.unlink()
    anew = Start(64, bytes(32), (bytes(32),))
    write_start(folder, anew)
    facts = {**facts_of(anew), "approvers": ["ann", "b\x1bob"]}
    stone = encode.event(TOMBSTONE, facts, 64, 1)
    write_private(folder / f"{64:016d}.jsonl", line_of(link(anew.hash, stone), stone))
    assert AuditLog(folder, "test/log").close() is None
    words = ("verify", "--folder", folder)
    said = r"records below 64 were removed by ann, b\u{1b}ob"
    assert said in run(*words).stdout
    done = run(*words, "--checkpoint", point)
    assert done.exit_code == 1
    why = "the checkpoint of 63 cannot be checked: records below 64 were removed"
    assert done.stdout.splitlines() == [f"NOT PROVEN: {why}", said]
    found = json.loads(run(*words, "--checkpoint", point, "--json").stdout)
    assert (found["ok"], found["unchecked"], found["removed"]) == (False, 63, 64)
    last = segments(folder)[-1].path
    last.write_bytes(last.read_bytes().replace(b'"v":1', b'"v":2'))
    broken = run(*words, "--checkpoint", point).stdout.splitlines()
    assert broken[0].startswith("BROKEN at record 65: ")
    assert broken[1:] == [said]


async def test_checkpoints_are_taken_as_they_were_kept(tmp_path: Path) -> None:
    """Appended to one file, in files of their own, as JSON: none of it is a fault of the log."""
    folder, one, more = await a_log(tmp_path / "log"), tmp_path / "one", tmp_path / "more"
    note = run("checkpoint", "--folder", folder).stdout
    first = (folder / "checkpoints").read_text().partition("\n\n")[0]
    one.write_text(note + note)
    more.write_text(run("checkpoint", "--folder", folder, "--json").stdout)
    words = ("verify", "--folder", folder, "--checkpoint", one, "--checkpoint", more)
    assert answered(*words)["ok"] is True
    last = segments(folder)[-1].path
    last.unlink()
    kept = (folder / "checkpoints").read_text()
    (folder / "checkpoints").write_text(kept.partition(note)[0])
    assert first in (folder / "checkpoints").read_text()
    assert run("verify", "--folder", folder).exit_code == 0
    for file in (one, more):
        done = run("verify", "--folder", folder, "--checkpoint", file)
        assert done.exit_code == 1
        assert "a checkpoint speaks of 63 records: the end is gone" in done.stdout


async def test_what_is_no_checkpoint_of_this_log_is_said_and_the_log_is_not_blamed(
    tmp_path: Path,
) -> None:
    folder, file = await a_log(tmp_path / "log", calls=1), tmp_path / "kept"
    note = run("checkpoint", "--folder", folder).stdout
    foreign = sign(Checkpoint("other/log", 3, bytes(32)), PrivateKey.generate())
    for held, said in (
        (b"", "holds no checkpoint"),
        (b"\xff\xfe", "holds no checkpoint"),
        (b"\0" * 20_000, "holds no checkpoint"),
        (note.encode() + b"more", "holds no checkpoint"),
        (b'{"checkpoint": 1}', "holds no checkpoint"),
        (foreign.encode(), "other/log"),
        ((note + foreign).encode(), "other/log"),
    ):
        file.write_bytes(held)
        done = run("verify", "--folder", folder, "--checkpoint", file)
        assert done.output.startswith("Error: no checkpoint: "), held
        assert said in done.output
        assert "BROKEN" not in done.output
        assert done.exit_code != 0


async def test_a_checkpoint_of_this_log_by_another_key_is_told_loudly(tmp_path: Path) -> None:
    """A06: a log that was written anew with another key looks like this."""
    folder, file = await a_log(tmp_path / "log", calls=1), tmp_path / "kept"
    file.write_text(sign(Checkpoint("test/log", 3, bytes(32)), PrivateKey.generate()))
    done = run("verify", "--folder", folder, "--checkpoint", file)
    assert done.exit_code == 1
    assert done.stdout.startswith("BROKEN at record ")
    assert "did not sign" in done.stdout
