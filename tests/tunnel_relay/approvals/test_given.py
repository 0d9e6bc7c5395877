"""A yes is written down before it holds."""

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from shared.audit.verifying import verify_folder
from tests.helpers.audit_log import records
from tests.tunnel_relay.admin.test_service import broken, mended, refused
from tests.tunnel_relay.approvals.scene import PARAMS, Office, an_office
from tests.tunnel_relay.making import an_admin
from tunnel_relay.audit.facts import of_approval
from tunnel_relay.errors import Code
from tunnel_relay.store.approvals import Approval, State


def noted(office: Office, kind: str) -> list[dict[str, Any]]:
    assert office.admin.records.log is not None
    return records(office.admin.records.log.folder, kind)


@pytest.mark.parametrize(("count", "kind"), [(1, "approval.granted"), (2, "approval.supported")])
async def test_a_yes_is_on_the_disk_as_a_record_before_it_holds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, count: int, kind: str
) -> None:
    """A20: else a fault of power leaves an approval that is used and that nobody gave."""
    async with an_office(tmp_path) as office:
        store, log = office.admin.store, office.admin.records.log
        asked = await office.ask(count=count)
        store_it, on_disk = store.decide_approval, list[dict[str, Any]]()

        async def decide(approval: Approval, before: State) -> bool:
            on_disk.extend(each for each in noted(office, kind) if log and each["seq"] < log.synced)
            assert office.admin.approvals.requests.get(asked.id) == asked
            return await store_it(approval, before)

        monkeypatch.setattr(store, "decide_approval", decide)
        await office.approve("pia", asked, reason="looks right")
        (given,) = on_disk
        assert (given["by"], given["reason"]) == ("pia", "looks right")
        assert given["approval"]["id"] == asked.id
        assert given["approval"]["approvers"] == ["pia"]
        assert noted(office, kind) == [given]


async def test_a_yes_that_cannot_be_written_down_is_none(tmp_path: Path) -> None:
    """A08."""
    async with an_office(tmp_path) as office:
        desk, log = office.admin.approvals, office.admin.records.log
        asked = await office.ask()
        assert log is not None
        log.failing = "No space left on device"
        assert await refused(desk.approve(asked, "pia", "")) is Code.AUDIT_FAILING
        log.failing = None
        assert desk.requests.get(asked.id) == asked
        assert [each.state for each in await office.admin.store.approvals()] == [State.PENDING]
        await office.approve("pia", asked)
        assert desk.requests.ready(office.session.id)


async def test_a_yes_that_came_to_nothing_is_taken_back_in_the_log(tmp_path: Path) -> None:
    """A20: it was written down before the store was asked."""
    async with an_office(tmp_path) as office:
        desk, asked = office.admin.approvals, await office.ask()
        broken(tmp_path, "approvals")
        assert await refused(office.approve("pia", asked)) is Code.STORE_UNAVAILABLE
        mended(tmp_path, "approvals")
        denied = replace(asked, state=State.DENIED, decided_by="paul")
        assert await office.admin.store.decide_approval(denied, State.PENDING)
        assert await refused(office.approve("pia", asked)) is Code.APPROVAL_OVER
        assert not desk.requests.ready(office.session.id)
        assert office.admin.records.log is not None
        office.admin.records.log.flush()
        assert [each["approval"]["approvers"] for each in noted(office, "approval.granted")] == [
            ["pia"],
            ["pia"],
        ]
        assert [each["reason"] for each in noted(office, "approval.refused")] == [
            "the log or the store did not take it",
            "somebody else decided at the same time",
        ]


async def test_a_fault_of_power_as_a_yes_is_stored_leaves_a_log_that_verifies(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A20: the relay finds it approved when it starts again, and lets it be used."""
    left = tmp_path / "left"
    async with an_office(tmp_path) as office:
        store, log = office.admin.store, office.admin.records.log
        assert log is not None
        await office.approve("pia", await office.ask({"arguments": {"n": 1}}))
        store_it, asked = store.decide_approval, await office.ask()

        async def decide(approval: Approval, before: State) -> bool:
            stored = await store_it(approval, before)
            shutil.copytree(log.folder, left)
            return stored

        monkeypatch.setattr(store, "decide_approval", decide)
        await office.approve("pia", asked)
        monkeypatch.undo()
        session = office.session.id
    shutil.rmtree(log.folder)
    left.rename(log.folder)
    async with an_admin(tmp_path) as admin:
        taken = (await admin.approvals.take(session, "send", PARAMS)).approval
        assert taken is not None
        assert admin.records.log is not None
        admin.records.log.add("call.intent", {"call": "f.1", **of_approval(taken)})
    report = verify_folder(log.folder, log.public)
    assert (report.ok, report.fault) == (True, None)
    assert "audit.recovered" in {each["kind"] for each in records(log.folder)}
