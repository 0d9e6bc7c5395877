"""Each approval that ended by time is told once; what was settled before is not."""

from dataclasses import replace
from pathlib import Path

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
