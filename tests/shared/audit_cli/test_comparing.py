"""Two logs against each other, by command."""

import json
import shutil
from pathlib import Path

from shared.audit.segments import segments
from tests.shared.audit_cli.logs import LINK, a_log, a_long_log, an_odd_log, answered, run, two_logs


async def test_logs_that_agree_end_with_0(tmp_path: Path) -> None:
    relay, client = tmp_path / "relay", tmp_path / "client"
    await two_logs(relay, client, calls=20)
    found = answered("reconcile", relay, client)
    assert (found["ok"], found["broken"], found["matched"]) == (True, {}, 20)
    keys = ("--key", relay / "key.pub", "--key", client / "key.pub")
    assert run("reconcile", relay, client, *keys).exit_code == 0
    assert "ok: every call is accounted for" in run("reconcile", relay, client).stdout


async def test_calls_that_one_end_does_not_know_end_with_1_in_a_table(tmp_path: Path) -> None:
    relay, client = tmp_path / "relay", tmp_path / "client"
    await two_logs(relay, client, calls=20, lost=7)
    done = run("reconcile", relay, client, "--slack", 0)
    assert done.exit_code == 1
    assert "GRAVE only the client knows" in done.stdout
    assert "NOT ACCOUNTED FOR" in done.stdout
    found = json.loads(run("reconcile", relay, client, "--slack", 0, "--json").stdout)
    assert found["kinds"] == {"only the client knows": 1}
    assert found["findings"][0]["call"] == f"{LINK}.7"


async def test_calls_that_could_not_be_compared_are_an_error_when_asked_for(tmp_path: Path) -> None:
    relay, client = tmp_path / "relay", tmp_path / "client"
    await two_logs(relay, client, calls=20, lost=7)
    found = answered("reconcile", relay, client)
    assert (found["ok"], found["uncompared"]) == (True, 1)
    for option, code in (((), 0), (("--complete",), 1)):
        done = run("reconcile", relay, client, *option)
        assert done.exit_code == code
        last = "19 calls agree; 1 could not be compared: 1 not covered"
        assert done.stdout.splitlines()[-1] == last
    await two_logs(tmp_path / "r", tmp_path / "c", calls=20)
    assert run("reconcile", tmp_path / "r", tmp_path / "c", "--complete").exit_code == 0


async def test_a_log_that_is_not_what_was_written_ends_with_1(tmp_path: Path) -> None:
    relay, client = await a_log(tmp_path / "relay"), await a_log(tmp_path / "client")
    last = segments(client)[-1].path
    last.write_bytes(last.read_bytes().replace(b'"v":1', b'"v":2'))
    done = run("reconcile", relay, client)
    assert done.exit_code == 1
    assert f"NOT WHAT WAS WRITTEN: {client}: record " in done.stdout
    assert "ok: every call is accounted for" not in done.stdout
    swapped = ("--key", client / "key.pub", "--key", relay / "key.pub")
    found = json.loads(run("reconcile", relay, client, *swapped, "--json").stdout)
    assert set(found["broken"]) == {str(relay), str(client)}


async def test_a_log_whose_calls_do_not_fit_together_is_named(tmp_path: Path) -> None:
    relay, client = await a_log(tmp_path / "relay"), await an_odd_log(tmp_path / "client")
    done = run("reconcile", relay, client)
    assert done.exit_code == 1
    why = r"record 1: ended without an intent: odd\u{1b}.1"
    assert f"NOT WHAT WAS WRITTEN: {client}: {why}" in done.stdout.splitlines()


async def test_a_log_without_its_checkpoints_is_not_proven(tmp_path: Path) -> None:
    """A06."""
    relay, client = await a_log(tmp_path / "relay"), await a_long_log(tmp_path / "client")
    (client / "checkpoints").unlink()
    done = run("reconcile", relay, client)
    assert done.exit_code == 1
    assert f"NOT PROVEN: {client}: no checkpoint vouches for records 0 to 301," in done.stdout
    found = json.loads(run("reconcile", relay, client, "--json").stdout)
    assert (found["ok"], found["broken"], set(found["unproven"])) == (False, {}, {str(client)})


async def test_a_key_for_each_folder_or_none(tmp_path: Path) -> None:
    relay = await a_log(tmp_path / "relay", calls=1)
    done = run("reconcile", relay, relay, "--key", relay / "key.pub")
    assert done.exit_code == 2
    assert "for each folder" in done.output


async def test_a_segment_that_cannot_be_read_is_told_with_all_the_rest(tmp_path: Path) -> None:
    """A04: `verify` names it; what the other segments say is compared nevertheless."""
    relay, client = tmp_path / "relay", tmp_path / "client"
    await two_logs(relay, client, calls=3)
    (segment,) = relay.glob("*.jsonl")
    segment.rename(segment.with_name(segment.name + ".gz"))
    done = run("reconcile", relay, client)
    assert done.exit_code == 1
    assert done.stdout.startswith(f"NOT WHAT WAS WRITTEN: {relay}: record 0: ")


async def test_no_number_of_seconds_is_refused(tmp_path: Path) -> None:
    await two_logs(tmp_path / "relay", tmp_path / "client", calls=1)
    for option in ("--slack", "--window"):
        done = run("reconcile", tmp_path / "relay", tmp_path / "client", option, "nan")
        assert done.exit_code == 2
        assert "nan" in done.output


async def test_logs_in_another_order_are_put_right_with_their_keys(tmp_path: Path) -> None:
    relay, client = tmp_path / "relay", tmp_path / "client"
    await two_logs(relay, client, calls=20)
    keys = ("--key", client / "key.pub", "--key", relay / "key.pub")
    found = answered("reconcile", client, relay, *keys)
    assert (found["clients"], found["matched"], found["broken"]) == ({str(client): 20}, 20, {})


async def test_one_log_given_twice_is_refused_before_it_is_read(tmp_path: Path) -> None:
    relay, client = tmp_path / "relay", tmp_path / "client"
    await two_logs(relay, client, calls=2)
    (relay / "key.pub").unlink()
    for folders, why in (((relay, relay), "one log is named twice"), ((client,) * 2, "twice")):
        done = run("reconcile", *folders)
        assert done.exit_code == 1
        assert why in done.output
    shutil.copytree(client, tmp_path / "copy")
    done = run("reconcile", client, tmp_path / "copy")
    assert "none of these is the log of a relay" in done.output
