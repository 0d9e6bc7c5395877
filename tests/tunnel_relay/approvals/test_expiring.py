"""Each approval that ended by time is told once; what was settled before is not."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from shared.audit.events import heard
from tests.tunnel_relay.approvals.scene import an_office
from tunnel_relay.approvals.expiring import Expiring
from tunnel_relay.store.approvals import State


async def test_what_ends_by_time_is_told_once_and_what_was_settled_never(tmp_path: Path) -> None:
    async with an_office(tmp_path) as place:
        first = await place.ask()
        known = {
            "pending": replace(first, id="pending", expires=10.0),
            "approved": replace(first, id="approved", expires=10.0, state=State.APPROVED),
            "used": replace(first, id="used", expires=10.0, state=State.CONSUMED),
            "denied": replace(first, id="denied", expires=10.0, state=State.DENIED),
            "later": replace(first, id="later", expires=20.0),
        }
        expiring = Expiring(known.get)
        for each in known.values():
            expiring.watch(each)
        assert expiring.over(9.9) == []
        assert {each.id for each in expiring.over(10.0)} == {"pending", "approved"}
        assert expiring.over(10.0) == []
        assert [each.id for each in expiring.over(21.0)] == ["later"]


async def test_a_relay_that_starts_tells_what_ended_before_and_the_next_does_not(
    tmp_path: Path,
) -> None:
    """Asked or approved; what is stored as over is not told again."""
    async with an_office(tmp_path) as place:
        pending = await place.ask()
        approved = await place.ask({"name": "send", "arguments": {"to": "b@example.com"}})
        denied = await place.ask({"name": "send", "arguments": {"to": "c@example.com"}})
        await place.approve("pia", approved)
        await place.run("pia", "approval_deny", approval=denied.id, reason="no")
        place.admin.clock = lambda: pending.expires + 1
        approvals = place.admin.approvals
        told: list[tuple[str, Any]] = []
        with heard(lambda kind, facts: told.append((kind, facts["approval"]["id"]))):
            for _ in range(2):
                await approvals.load()
                await approvals.tell_over()
        expired = [("approval.expired", each.id) for each in (pending, approved)]
        assert sorted(told) == sorted(expired)
        assert {each.id: each.state for each in await place.admin.store.approvals()} == {
            pending.id: State.EXPIRED,
            approved.id: State.EXPIRED,
            denied.id: State.DENIED,
        }
