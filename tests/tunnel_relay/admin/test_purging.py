"""Records are removed by two people who are not the same, or not at all."""

import asyncio
import time
from pathlib import Path
from typing import Any

import pytest

from shared.audit.ends import end_path
from shared.audit.log import AuditLog
from shared.audit.segments import segments
from shared.audit.verifying import verify_folder
from tests.helpers.audit_log import records
from tests.integration.scene import eventually
from tests.tunnel_relay.admin.test_audit import ask, log_of
from tests.tunnel_relay.console.stage import Stage, a_console
from tunnel_relay.admin.commands import run_command
from tunnel_relay.audit.purges import WAIT_SECONDS
from tunnel_relay.errors import RelayError


async def old_log(stage: Stage) -> AuditLog:
    """Let the log have closed segments, and let nothing be too young to go."""
    log = log_of(stage)
    log._segment_bytes = 4096
    for number in range(200):
        log.add("test", {"number": number})
        assert log.flush() is None
    await eventually(lambda: len(segments(log.folder)) > 3)
    await eventually(lambda: all(each.compressed for each in segments(log.folder)[:-1]))
    audit = stage.admin.settings.audit.model_copy(update={"keep_days": -1})
    stage.admin.settings = stage.admin.settings.model_copy(update={"audit": audit})
    return log


def stones(log: AuditLog) -> list[dict[str, Any]]:
    return records(log.folder, "audit.tombstone")


async def asked(stage: Stage, by: str) -> str:
    made = await ask(stage, by, "audit_purge_ask", before=time.time(), reason="a year is enough")
    return str(made["result"]["id"])


def code(answer: dict[str, Any]) -> str:
    return str(answer["error"]["code"])


@pytest.mark.parametrize(("first", "second"), [("ada", "abe"), ("otto", "ada"), ("abe", "otto")])
async def test_two_people_remove_what_is_old(tmp_path: Path, first: str, second: str) -> None:
    """A14: a tombstone with both names, and a log that still verifies."""
    async with a_console(tmp_path) as stage:
        log = await old_log(stage)
        wish = await asked(stage, first)
        assert segments(log.folder)[0].first == 0
        listed = (await ask(stage, "otto", "audit_purge_list"))["result"]
        assert [each["id"] for each in listed] == [wish]
        done = (await ask(stage, second, "audit_purge_confirm", purge_id=wish))["result"]
        assert done["segments"] > 0
        assert segments(log.folder)[0].first == done["first_left"] > 0
        (stone,) = stones(log)
        assert stone["approvers"] == [first, second]
        assert verify_folder(log.folder, log.public).ok
        hand = await stage.logged_in("otto")
        await hand.post("/audit/verify")
        gone = f"Records below {done['first_left']} were removed by {first}, {second}."
        assert gone in (await hand.get("/audit")).text
        again = await ask(stage, second, "audit_purge_confirm", purge_id=wish)
        assert code(again) == "MT1153"


async def test_a_removal_that_was_refused_for_now_can_be_agreed_to_again_and_once(
    tmp_path: Path,
) -> None:
    """A14: what the log was not ready for takes nobody to ask again, and is not done twice."""
    async with a_console(tmp_path) as stage:
        log = await old_log(stage)
        wish = await asked(stage, "ada")
        end = end_path(log.folder, segments(log.folder)[-2].first)
        held = end.rename(tmp_path / "held")  # as long as its process has not closed it
        refused = await ask(stage, "abe", "audit_purge_confirm", purge_id=wish)
        assert code(refused) == "MT1155"
        assert "try again later" in refused["error"]["message"]
        assert stones(log) == []
        held.rename(end)
        both = await asyncio.gather(
            *(ask(stage, who, "audit_purge_confirm", purge_id=wish) for who in ("abe", "otto"))
        )
        (done,) = [each["result"] for each in both if "result" in each]
        assert [code(each) for each in both if "error" in each] == ["MT1153"]
        assert segments(log.folder)[0].first == done["first_left"] > 0
        assert code(await ask(stage, "abe", "audit_purge_confirm", purge_id=wish)) == "MT1153"
        assert len(stones(log)) == 1


async def test_one_person_alone_removes_nothing(tmp_path: Path) -> None:
    """A14: neither twice over, nor the operator, nor somebody who may not any more."""
    async with a_console(tmp_path) as stage:
        log = await old_log(stage)
        wish = await asked(stage, "abe")
        assert code(await ask(stage, "abe", "audit_purge_confirm", purge_id=wish)) == "MT1154"
        for command, given in (
            ("audit_purge_ask", {"before": 1.0, "reason": "x"}),
            ("audit_purge_confirm", {"purge_id": wish}),
        ):
            with pytest.raises(RelayError) as refused:
                await run_command(stage.admin, command, given)
            assert refused.value.code == "MT1154"
            for nobody in ("uma", "pia"):
                assert code(await ask(stage, nobody, command, **given)) == "MT1056"
        await stage.admin.user_change("abe", roles=["user"])
        assert code(await ask(stage, "ada", "audit_purge_confirm", purge_id=wish)) == "MT1154"
        assert stones(log) == []
        assert segments(log.folder)[0].first == 0


async def test_what_is_young_and_what_was_asked_long_ago_stays(tmp_path: Path) -> None:
    """A14: whoever asks; and a retention that was shortened is a record of its own."""
    async with a_console(tmp_path) as stage:
        young = await ask(stage, "ada", "audit_purge_ask", before=time.time(), reason="x")
        assert code(young) == "MT1155"
        assert "kept for 400 days" in young["error"]["message"]
        log = await old_log(stage)
        wish = await asked(stage, "ada")
        now = stage.admin.clock()
        stage.admin.clock = lambda: now + WAIT_SECONDS + 1
        assert code(await ask(stage, "abe", "audit_purge_confirm", purge_id=wish)) == "MT1153"
        assert stones(log) == []
