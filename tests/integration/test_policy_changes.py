"""Policies that change and narrow what agents may call, with the real programs, in each era."""

import json
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.helpers.agent import call
from tests.helpers.tunnel import CommandError
from tests.integration.policies import POLICY, RELAY_POLICY, Desk, open_desk
from tests.integration.scene import eventually
from tests.integration.test_policy import is_denied, is_unknown, modern

__all__ = ["modern"]
pytestmark = [pytest.mark.system, pytest.mark.asyncio(loop_scope="module")]

GATE = "  - {id: gate, match: {tool: open_ticket}, effect: require_approval, "
GATE += "approvers: {group: [approvers]}}\n"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def desk() -> AsyncIterator[Desk]:
    async with open_desk(None, "carol", "dave") as made:
        yield made


# Files that change (P11) ------------------------------------------------------------------------


@pytest.mark.parametrize("program", ["client", "relay"])
async def test_a_file_that_changes_holds_and_a_broken_one_does_not(
    desk: Desk, program: str
) -> None:
    """P11."""
    good = POLICY if program == "client" else RELAY_POLICY
    case = f"file-{program}"
    await desk.take(program, good + "  - {id: n, match: {tool: get_ticket}, effect: deny}\n")
    assert is_unknown(await desk.call("get_ticket", True, case=case))
    await desk.take(program, good, told=False)
    await desk.call("get_ticket", True, case=case)
    assert desk.reached(case) == 1
    held = (await desk.status(program))["digest"]
    for broken in ("", good + "  - {id: half", "version: 1\nrules: [{}]\n"):
        desk.file(program).write_text(broken)

        async def told() -> bool:
            return bool((await desk.status(program))["problem"])

        await eventually(told, every=0.1)
        assert (await desk.status(program))["digest"] == held
        await desk.call("get_ticket", True, case=case)
    assert desk.reached(case) == 4
    assert is_unknown(await desk.call("purge", True, case=case))
    if program == "relay":
        assert "the policy before it holds" in await desk.lab.relay_command("status")
    await desk.take(program, good + "# mended\n")
    await eventually(lambda: _mended(desk, program), every=0.1)


async def _mended(desk: Desk, program: str) -> bool:
    return (await desk.status(program))["problem"] is None


# The relay's own policy -------------------------------------------------------------------------


async def test_what_the_relay_denies_never_reaches_the_client(desk: Desk, modern: bool) -> None:
    rules = "  - {id: no, match: {tool: get_ticket}, effect: deny}\n"
    rules += "  - {id: few, match: {tool: refund}, when: 'args.amount > 10', effect: deny}\n"
    await desk.take("relay", RELAY_POLICY + rules)
    before = len(desk.scene.log("client.log"))
    case = f"relay-{modern}"
    assert is_unknown(await desk.call("get_ticket", modern, case=case))
    assert is_denied(await desk.call("refund", modern, case=case, amount=11))
    assert desk.scene.log("client.log")[before:] == ""
    assert "get_ticket" not in await desk.listed(modern)
    assert desk.reached(case) == 0
    await desk.call("refund", modern, case=case, amount=9)
    assert desk.reached(case) == 1
    await desk.take("relay", RELAY_POLICY)


async def test_the_relay_may_ask_for_an_approval_too(desk: Desk, modern: bool) -> None:
    case = f"relay-asks-{modern}"
    await desk.take("relay", RELAY_POLICY + GATE)
    approval = await desk.approved("open_ticket", modern, case=case)
    assert desk.reached(case) == 0
    await desk.call("open_ticket", modern, case=case)
    assert desk.reached(case) == 1
    assert await desk.pending(await desk.call("open_ticket", modern, case=case)) != approval
    assert desk.reached(case) == 1
    await desk.take("relay", RELAY_POLICY)


async def test_both_may_ask_and_each_gets_its_approval(desk: Desk, modern: bool) -> None:
    case = f"both-ask-{modern}"
    gate = GATE.replace("open_ticket", "send_mail")
    await desk.take("relay", RELAY_POLICY + gate)
    reply = await desk.call("send_mail", modern, case=case)
    for _ in range(3):
        assert desk.reached(case) == 0
        await desk.call("send_mail", modern, case=case)  # an agent repeats its call too early
        await desk.decide("approve", await desk.pending(reply))
        reply = await desk.call("send_mail", modern, case=case)
        if not reply.document["result"].get("isError"):
            break
    assert desk.reached(case) == 1
    await desk.take("relay", RELAY_POLICY)


async def test_a_rule_on_a_class_counts_from_the_first_call_of_a_link(desk: Desk) -> None:
    rules = "  - {id: no, match: {class: admin}, effect: deny}\n"
    await desk.take("client", RELAY_POLICY)
    await desk.take("relay", RELAY_POLICY + rules)

    async def told() -> bool:
        return not is_unknown(await desk.call("get_ticket", True, case="classes"))

    await eventually(told, every=0.1)
    assert is_unknown(await desk.call("purge", True, case="classes-no"))
    assert desk.reached("classes-no") == 0
    await desk.take("relay", RELAY_POLICY)
    await desk.take("client", POLICY)


# Break glass ------------------------------------------------------------------------------------


async def test_breaking_glass_takes_a_reason_and_two_people_each_time(
    desk: Desk, modern: bool
) -> None:
    """P34."""
    case = f"glass-{modern}"
    approval = await desk.pending(await desk.call("unlock", modern, case=case))
    with pytest.raises(CommandError, match="MT1124"):
        await desk.decide("approve", approval)
    await desk.decide("approve", approval, "carol", "--reason", "the house burns")
    again = await desk.call("unlock", modern, case=case)
    assert again.document["result"]["isError"]
    assert desk.reached(case) == 0
    await desk.decide("approve", approval, "dave", "--reason", "it does")
    await desk.call("unlock", modern, case=case)
    assert desk.reached(case) == 1
    assert await desk.pending(await desk.call("unlock", modern, case=case)) != approval
    assert desk.reached(case) == 1
    assert "break_glass_" in desk.scene.log("relay.log")


# Who calls --------------------------------------------------------------------------------------


async def test_a_session_uses_the_classes_it_was_made_with(desk: Desk, modern: bool) -> None:
    """P33."""
    narrow = (await desk.session("--class", "read")).agent
    assert await desk.listed(modern, narrow) == ["get_ticket"]
    case = f"narrow-{modern}"
    assert is_denied(await desk.call("open_ticket", modern, narrow, case=case))
    assert desk.reached(case) == 0
    await desk.call("get_ticket", modern, narrow, case=case)
    assert desk.reached(case) == 1


async def test_who_leaves_a_group_is_judged_so_at_the_next_call_s30(
    desk: Desk, modern: bool
) -> None:
    """S30."""
    user, case = f"grace-{modern}".lower(), f"group-{modern}"
    await desk.lab.relay_json("user", "add", user, "--no-password", "--group", "ops")
    rules = "version: 1\nrules:\n  - {id: a, match: {group: ops}, effect: allow}\n"
    await desk.take("client", rules)
    agent = (await desk.session(user=user)).agent
    await desk.call("get_ticket", modern, agent, case=case)
    assert desk.reached(case) == 1
    await desk.lab.relay_json("user", "change", user, "--group", "sales")
    assert is_unknown(await desk.call("get_ticket", modern, agent, case=case))
    assert await desk.listed(modern, agent) == []
    assert desk.reached(case) == 1
    await desk.take("client", POLICY)


# Arguments --------------------------------------------------------------------------------------


async def test_a_number_that_nobody_can_spell_ends_its_own_call_only(
    desk: Desk, modern: bool
) -> None:
    """P19, P06: such a number is a good double to some readers, and no exact decimal."""
    case = f"tiny-{modern}"
    message = call("send_mail", modern=modern, case=case, text="TINY")
    headers = [pair for pair in desk.scene.agent.head(message) if pair[0].startswith("M")]
    for number in ("1e-9999999999999999999", "0e99999999999999999999"):
        body = json.dumps(message).replace('"TINY"', number).encode()
        reply = await desk.scene.agent.ask(body, headers=headers)
        assert reply.document["result"]["isError"] is True
        await desk.take("relay", RELAY_POLICY + GATE.replace("open_ticket", "send_mail"))
        reply = await desk.scene.agent.ask(body, headers=headers)
        assert reply.document["result"]["isError"] is True
        await desk.take("relay", RELAY_POLICY)
    assert desk.reached(case) == 0
    await desk.call("get_ticket", modern, case=case)
    assert desk.reached(case) == 1
