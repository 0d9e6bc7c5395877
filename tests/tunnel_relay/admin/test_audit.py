"""The log by command: what is for auditors only takes that role itself, and leaves a record."""

import json
from pathlib import Path
from typing import Any

from shared.audit.log import AuditLog
from shared.audit.verifying import verify_folder
from shared.record.export import words
from shared.record.export.joined import Event
from shared.record.model import read
from tests.helpers.audit_log import records
from tests.tunnel_relay.console.stage import Stage, a_console
from tunnel_relay.console.audit import _row

CANARY = "canary-51f0"
SESSION = "ab" * 16
WHO = {"agent": "bot", "claimed": f"root/{CANARY}", "session": SESSION, "user": "uma"}
WHAT = {"class": "write", "method": "tools/call", "name": "send", "server": "office/mail"}
WHY = {"decision": "allow", "rule": "all", "policy": "p"}


def log_of(stage: Stage) -> AuditLog:
    assert stage.admin.records.log is not None
    return stage.admin.records.log


def written(stage: Stage) -> int:
    """Write a call with everything that is for auditors only; returns the number of its intent."""
    log = log_of(stage)
    given = {"to": CANARY, "amount": 3, "text": "hmac:" + "0" * 32}
    facts = {"arguments": given, "source": CANARY, "who": WHO, "what": WHAT, "why": WHY}
    seq = log.add("call.intent", {"call": "l.1", "body": "b" * 64, **facts})
    ended = {"intent": seq, "result": "ok", "delivery": "done", "us": 1500, "status": 200}
    log.add("call.completion", {"call": "l.1", **ended})
    log.add("call.refused", {"call": "l.2", "reason": CANARY, "who": WHO, "what": WHAT, "why": WHY})
    return seq


async def ask(stage: Stage, by: str, command: str, /, **arguments: Any) -> Any:
    bearer = {"Authorization": f"Bearer {await stage.token(by)}"}
    answer = await stage.nobody().call(command, arguments, headers=bearer)
    return answer.json()


async def test_an_admin_sees_who_called_what_and_no_more(tmp_path: Path) -> None:
    """A22: being an admin opens nothing that is for auditors."""
    async with a_console(tmp_path) as stage:
        seq = written(stage)
        for command, arguments in (
            ("audit_query", {}),
            ("audit_show", {"seq": seq}),
            ("audit_replay", {"session": SESSION}),
        ):
            found = await ask(stage, "ada", command, **arguments)
            assert CANARY not in str(found), command
            assert "uma" in str(found)
            refused = await ask(stage, "ada", command, **arguments, sensitive=True)
            assert refused["error"]["code"] == "MT1056", command
        shown = (await ask(stage, "ada", "audit_show", seq=seq))["result"]["record"]
        hidden = "(for auditors)"
        assert shown["arguments"] == {"to": hidden, "amount": hidden, "text": "hmac:" + "0" * 32}
        assert (shown["who"]["claimed"], shown["source"]) == (hidden, hidden)
        assert records(log_of(stage).folder, "audit.viewed") == []


async def test_what_an_auditor_looks_at_is_written_down_before_it_is_shown(tmp_path: Path) -> None:
    """A22."""
    async with a_console(tmp_path) as stage:
        seq = written(stage)
        looks: list[tuple[str, dict[str, Any]]] = [
            ("audit_query", {"user": "uma"}),
            ("audit_show", {"seq": seq}),
            ("audit_replay", {"session": SESSION}),
        ]
        for command, arguments in looks:
            assert CANARY not in str(await ask(stage, "otto", command, **arguments))
            assert CANARY in str(await ask(stage, "otto", command, **arguments, sensitive=True))
        viewed = records(log_of(stage).folder, "audit.viewed")
        assert [(each["command"], each["asked"]) for each in viewed] == looks
        assert {each["by"] for each in viewed} == {"otto"}


async def test_what_an_auditor_asked_for_is_no_call_of_its_own(tmp_path: Path) -> None:
    """A22, A09: a start ends the calls that were under way, and a question is none."""
    async with a_console(tmp_path) as stage:
        written(stage)
        log = log_of(stage)
        asked = {"call": "l.1", "kind": "call.intent", "since": 1.0}
        found = await ask(stage, "otto", "audit_query", **asked, sensitive=True)
        assert len(found["result"]["records"]) == 1
        assert log.close() is None
    (viewed,) = records(log.folder, "audit.viewed")
    assert viewed["asked"] == {**asked, "since": 1_000_000}
    AuditLog(log.folder, log.origin).close()
    report = verify_folder(log.folder, log.public)
    assert (report.ok, report.fault, report.open_intents) == (True, None, {})
    assert len(records(log.folder, "call.completion")) == 1


async def test_who_cannot_be_written_down_sees_nothing(tmp_path: Path) -> None:
    """A22, A08: a look that leaves no record is refused."""
    async with a_console(tmp_path) as stage:
        seq = written(stage)
        log = log_of(stage)
        stage.admin.records.log = None
        refused = await ask(stage, "otto", "audit_show", seq=seq, sensitive=True)
        assert refused["error"]["code"] == "MT1152"
        stage.admin.records.log = log


async def test_the_log_is_searched_in_pages_the_newest_first(tmp_path: Path) -> None:
    async with a_console(tmp_path) as stage:
        for _ in range(5):
            written(stage)
        seen: list[int] = []
        before = None
        while True:
            given = {"tool": "send", "kind": "call.", "limit": 4, "before": before}
            page = (await ask(stage, "ada", "audit_query", **given))["result"]
            seen += [each["seq"] for each in page["records"]]
            before = page["cursor"]
            if before is None:
                break
        assert len(seen) == 15
        assert seen == sorted(seen, reverse=True)
        assert (await ask(stage, "ada", "audit_query", after=10**30))["result"]["records"] == []
        found = (await ask(stage, "ada", "audit_query", before=10**30))["result"]["records"]
        assert {each["seq"] for each in found} > set(seen)
        for wrong in ({"limit": 0}, {"since": -1.0}, {"user": "x" * 600}, {"color": "red"}):
            refused = await ask(stage, "ada", "audit_query", **wrong)
            assert refused["error"]["code"] == "MT1025", wrong


async def test_whoever_is_shown_as_the_user_of_a_record_is_found_as_that(tmp_path: Path) -> None:
    """In the console's list and in exports, which say who did it."""
    async with a_console(tmp_path) as stage:
        written(stage)
        log = log_of(stage)
        log.add("session.revoked", {"user": "uma", "by": "carol", "session": SESSION})
        log.add("approval.denied", {"who": WHO, "what": WHAT, "by": ["https://idp.example", "17"]})
        given = {"kind": "user", "subject": "uma", "reason": "gone"}
        assert "error" not in await ask(stage, "abe", "lock_add", **given)
        there = records(log.folder)
        shown = [
            {_row(each)["user"], words.user(Event(read(json.dumps(each).encode())))} - {""}
            for each in there
        ]
        named = set().union(*shown)
        assert {"abe", "carol", "uma", "https://idp.example 17"} <= named
        for user in named:
            found = (await ask(stage, "ada", "audit_query", user=user, limit=500))["result"]
            seqs = {each["seq"] for each in found["records"]}
            wanted = {
                each["seq"] for each, users in zip(there, shown, strict=True) if user in users
            }
            assert wanted <= seqs, user
        kinds = {each["kind"] for each, users in zip(there, shown, strict=True) if "abe" in users}
        assert {"admin.asked", "lock.set", "admin.done"} <= kinds


async def test_words_that_no_record_has_are_refused(tmp_path: Path) -> None:
    async with a_console(tmp_path) as stage:
        written(stage)
        found = (await ask(stage, "ada", "audit_query", server="office/mail"))["result"]
        assert len(found["records"]) == 3
        refused = await ask(stage, "ada", "audit_query", decision="denied")
        assert refused["error"]["code"] == "MT1025"
        there = "there is: allow, require_approval, deny"
        assert f"no decision 'denied'; {there}" in refused["error"]["message"]
        hand = await stage.logged_in("otto")
        shown = await hand.get("/audit?decision=denied&kind=")
        assert shown.status_code == 400
        assert there in shown.text


async def test_what_is_not_there_is_said(tmp_path: Path) -> None:
    async with a_console(tmp_path) as stage:
        for command, arguments in (
            ("audit_show", {"seq": 10_000}),
            ("audit_show", {"seq": -1}),
            ("audit_show", {"seq": 10**30}),
            ("audit_replay", {"session": "nobody"}),
        ):
            refused = await ask(stage, "otto", command, **arguments)
            assert refused["error"]["code"] == "MT1151", command


async def test_a_session_is_told_with_its_outcomes(tmp_path: Path) -> None:
    async with a_console(tmp_path) as stage:
        written(stage)
        found = (await ask(stage, "ada", "audit_replay", session=SESSION))["result"]
        assert [(each["kind"], each["result"]) for each in found["entries"]] == [
            ("call.intent", "ok"),
            ("call.refused", ""),
        ]
        assert found["cursor"] is None
        later = await ask(stage, "ada", "audit_replay", session=SESSION, after=10**30)
        assert later["result"]["entries"] == []


async def test_what_was_verified_is_remembered_and_a_broken_log_is_told(tmp_path: Path) -> None:
    async with a_console(tmp_path) as stage:
        seq = written(stage)
        assert (await ask(stage, "otto", "audit_state"))["result"]["verified"] is None
        report = (await ask(stage, "otto", "audit_verify"))["result"]
        assert (report["ok"], report["by"]) == (True, "otto")
        assert (await ask(stage, "ada", "audit_state"))["result"]["verified"] == report
        (segment,) = log_of(stage).folder.glob("*.jsonl")
        segment.write_bytes(segment.read_bytes().replace(b'"l.1"', b'"l.9"', 1))
        report = (await ask(stage, "otto", "audit_verify"))["result"]
        assert (report["ok"], report["first_bad"]) == (False, seq)
