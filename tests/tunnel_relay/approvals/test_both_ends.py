"""The relay's policy and the client's may each ask for an approval of one call."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import anyio
import pytest

from tests.tunnel_relay.approvals.scene import PARAMS, an_office, needs
from tunnel_relay.approvals.desk import AskError
from tunnel_relay.approvals.requests import NEW_OF_SESSION, Full


async def test_both_ends_may_ask_at_a_time_and_a_call_takes_both_approvals(tmp_path: Path) -> None:
    """P26: an agent that repeats its call ends neither request, whoever asks again."""
    async with an_office(tmp_path) as office:
        desk, session = office.admin.approvals, office.session
        relays = needs(policy="a" * 64, groups=("night",), relay=True)
        theirs = await office.ask()
        assert (await desk.take(session.id, "send", PARAMS, relays)).approval is None
        own = await desk.ask(session, "send", PARAMS, relays)
        assert await office.ask() == theirs
        await office.approve("paul", own)
        waits = await desk.take(session.id, "send", PARAMS, relays)
        assert (waits.approval, waits.waits) == (None, theirs)
        await office.approve("pia", theirs)
        assert (await desk.ask(session, "send", PARAMS, relays)).id == own.id
        taken = []

        async def take() -> None:
            taken.append(await desk.take(session.id, "send", PARAMS, relays))

        async with anyio.create_task_group() as tasks:
            for _ in range(50):
                tasks.start_soon(take)
        assert [each.approval.id for each in taken if each.approval] == [theirs.id]
        assert sum(each.lost for each in taken) == 49
        assert not desk.requests.ready(session.id)


@pytest.mark.parametrize(
    "changed", [{"definition": "e" * 64}, {"tool_class": "admin"}, {"policy": "b" * 64}]
)
async def test_p26_what_was_approved_of_another_tool_class_or_policy_is_not_used(
    tmp_path: Path, changed: dict[str, Any]
) -> None:
    """P26: where the client asks nobody, nobody but the relay would notice."""
    async with an_office(tmp_path) as office:
        desk, session = office.admin.approvals, office.session
        relays = needs(policy="a" * 64, groups=("night",), relay=True)
        own = await desk.ask(session, "send", PARAMS, relays)
        await office.approve("paul", own)
        other = replace(relays, **changed)
        assert (await desk.take(session.id, "send", PARAMS, other)).approval is None
        assert (await desk.ask(session, "send", PARAMS, other)).id != own.id


@pytest.mark.parametrize("changed", [{"definition": "e" * 64}, {"tool_class": "admin"}])
async def test_p26_what_a_client_had_approved_does_for_the_same_tool_only(
    tmp_path: Path, changed: dict[str, Any]
) -> None:
    async with an_office(tmp_path) as office:
        desk, session = office.admin.approvals, office.session
        relays = needs(policy="a" * 64, relay=True)
        await office.approve("pia", await office.ask())
        other = replace(relays, **changed)
        assert (await desk.take(session.id, "send", PARAMS, other)).approval is None
        assert (await desk.take(session.id, "send", PARAMS, relays)).approval is not None


async def test_each_end_replaces_only_what_it_asked_itself(tmp_path: Path) -> None:
    """P26: also after the relay was started anew."""
    async with an_office(tmp_path) as office:
        desk, session = office.admin.approvals, office.session
        relays = needs(policy="a" * 64, groups=("night",), relay=True)
        own, theirs = await desk.ask(session, "send", PARAMS, relays), await office.ask()
        changed = await office.ask(policy="b" * 64)
        await desk.load()
        await desk.take(session.id, "send", PARAMS, relays)
        assert await desk.ask(session, "send", PARAMS, relays) == own
        assert {each.id for each in desk.requests.pending(desk.now())} == {own.id, changed.id}
        assert theirs.id != changed.id


async def test_a_client_whose_policy_changes_each_time_does_not_flood_approvers(
    tmp_path: Path,
) -> None:
    """P29: a request that replaces another counts all the same."""
    async with an_office(tmp_path) as office:
        told: list[str] = []
        office.admin.approvals.announce = lambda approval, texts: told.append(approval.id)
        refusals = []
        for number in range(200):
            try:
                await office.ask(policy=f"{number:064x}")
            except AskError as error:
                refusals.append(error.too_many)
        assert set(refusals) == {Full.PACE}
        assert len(told) + len(refusals) == 200
        assert len(told) < 2 * NEW_OF_SESSION[1]
