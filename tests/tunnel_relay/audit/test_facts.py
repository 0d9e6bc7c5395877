"""Records of sessions, approvals and tools have one spelling each."""

from pathlib import Path

from shared.policy.classes import ToolClass
from shared.wire.tools import PinState, ToolWord
from tests.tunnel_relay.approvals.scene import an_office
from tunnel_relay.audit.facts import MAX_TOOLS, of_approval, of_session, of_tools


async def test_an_approval_is_spelled_as_in_the_intent_of_the_call_that_uses_it(
    tmp_path: Path,
) -> None:
    """A20: id and digest are what `verify` holds against each other."""
    async with an_office(tmp_path) as place:
        asked = await place.ask()
        await place.approve("pia", asked)
        known = place.admin.approvals.requests.get(asked.id)
        assert known is not None
        facts = of_approval(known)
        assert facts["approval"] == {
            "approvers": ["pia"],
            "arguments": asked.arguments,
            "id": asked.id,
            "keys": [],
        }
        assert facts["who"] == of_session(place.session)["who"]


def test_of_tools_is_said_what_changed_and_a_digest_of_all() -> None:
    def word(number: int, sha256: str = "a" * 64) -> ToolWord:
        return ToolWord(f"t{number:02}", ToolClass.READ, sha256, PinState.PINNED)

    before = {each.name: each for each in map(word, range(30))}
    told = {**before, "t07": word(7, "b" * 64)}
    del told["t08"]
    facts = of_tools(before, told)
    assert facts["changed"] == [["t07", "read", "b" * 64]]
    assert (facts["gone"], facts["tools"]) == (["t08"], 29)
    first = of_tools({}, before)
    assert len(first["changed"]) == MAX_TOOLS
    assert first["digest"] == of_tools(before, before)["digest"] != facts["digest"]
