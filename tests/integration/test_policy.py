"""Policy, pins, grants and approvals with the real programs, once in each era (P32)."""

import json
from collections.abc import AsyncIterator
from typing import Any

import anyio
import pytest
import pytest_asyncio

from shared.jsonrpc.header_values import encode_value
from tests.helpers.agent import LEGACY, call, request
from tests.helpers.tunnel import CommandError
from tests.integration.policies import (
    CLASSES,
    POLICY,
    Desk,
    desk_upstream,
    open_desk,
    tool,
)
from tests.integration.scene import eventually

pytestmark = [
    pytest.mark.system,
    pytest.mark.asyncio(loop_scope="module"),
]

RUGS = [
    {"description": "Does more."},
    {"title": "Harmless"},
    {"annotations": {"readOnlyHint": True}},
    {"inputSchema": {"type": "object"}},
]
"""What a server changes of a tool once it is pinned."""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def desk() -> AsyncIterator[Desk]:
    rugs = [tool(f"rug_{era}_{at}") for era in ("True", "False") for at in range(5)]
    async with open_desk(desk_upstream(*rugs), "carol", "dave", "erin") as made:
        yield made


@pytest.fixture(params=[True, False], ids=["modern", "legacy"])
def modern(request: pytest.FixtureRequest) -> bool:
    found: bool = request.param
    return found


def is_denied(reply: Any) -> bool:
    result = reply.document.get("result", {})
    return bool(result.get("isError")) and "denied by policy" in result["content"][0]["text"]


def is_unknown(reply: Any) -> bool:
    error = reply.document.get("error", {})
    return error.get("code") == -32602 and "Unknown tool" in error["message"]


# Names and arguments ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    [
        *("Get_Ticket", "get_ticket ", "get_t\u0456cket", "\uff47et_ticket", "get_tic\u0301ket"),
        *(
            "get\u200b_ticket",
            "\u202eget_ticket",
            "get_ticket\u0000",
            "x" * 129,
            "server/get_ticket",
        ),
    ],
)
async def test_a_name_is_that_very_name(desk: Desk, modern: bool, name: str) -> None:
    """P01, P02."""
    case = f"names-{modern}-{name!a}"
    headers = [("Mcp-Name", encode_value(name))] if modern else []
    message = call(name, modern=modern, case=case)
    reply = await desk.scene.agent.ask(message, headers=headers)
    assert is_unknown(reply) or reply.status == 400, reply.body
    assert desk.reached(case) == 0


@pytest.mark.parametrize("arguments", ['"amount":1,"amount":9', '"a":{"to":1,"to":2}'])
async def test_arguments_are_one_value_for_everybody(
    desk: Desk, modern: bool, arguments: str
) -> None:
    """P05."""
    case = f"twice-{modern}-{len(arguments)}"
    message = call("refund", modern=modern, case=case)
    text = json.dumps(message).replace('{"case"', "{" + arguments + ',"case"', 1)
    headers = [(name, value) for name, value in desk.scene.agent.head(message) if "cp-" in name]
    reply = await desk.scene.agent.ask(text.encode(), headers=headers)
    assert reply.status == 400
    assert case in text
    assert desk.reached(case) == 0


async def test_what_a_tool_does_not_declare_is_denied(desk: Desk, modern: bool) -> None:
    """P05, P07."""
    case = f"extra-{modern}"
    reply = await desk.call("refund", modern, case=case, amount=1, Amount=9000)
    assert reply.status == 400, "two names that differ by case are one to some readers"
    assert is_denied(await desk.call("refund", modern, case=case, amount=1, bcc="x"))
    assert desk.reached(case) == 0


@pytest.mark.parametrize(
    "amount",
    ["5000", [5000], True, None, 5000.5, 2**70, "\u0665\u0660", {}, 5001, ...],
    ids=str,
)
async def test_an_argument_of_another_type_is_denied(desk: Desk, modern: bool, amount: Any) -> None:
    """P06, and P07 for the one that is missing."""
    case = f"amount-{modern}-{amount}"
    given = {} if amount is ... else {"amount": amount}
    assert is_denied(await desk.call("refund", modern, case=case, **given))
    assert desk.reached(case) == 0


async def test_a_good_call_goes_through_once(desk: Desk, modern: bool) -> None:
    calls: dict[str, dict[str, Any]] = {
        "get_ticket": {},
        "refund": {"amount": 5000},
        "open_ticket": {},
    }
    for name, more in calls.items():
        case = f"good-{modern}-{name}"
        reply = await desk.call(name, modern, case=case, **more)
        assert "isError" not in reply.document["result"]
        assert desk.reached(case) == 1


# Pins -------------------------------------------------------------------------------------------


async def test_a_new_tool_is_not_there_until_it_is_pinned(desk: Desk, modern: bool) -> None:
    """P10, P12, P14."""
    name, case = f"wipe_{modern}", f"new-{modern}"
    before = desk.upstream.results["tools/list"]
    shown = [*before["tools"], tool(name, annotations={"readOnlyHint": True})]
    desk.upstream.results["tools/list"] = before | {"tools": shown}
    try:
        assert name not in await desk.listed(modern)
        assert is_unknown(await desk.call(name, modern, case=case))
    finally:
        desk.upstream.results["tools/list"] = before
    assert is_unknown(await desk.call(name, modern, case=case))
    assert desk.reached(case) == 0


@pytest.mark.parametrize("at", range(4))
async def test_a_pinned_tool_that_changes_is_gone(desk: Desk, modern: bool, at: int) -> None:
    """P12, P13, P14: also when the server shows the old one again."""
    name, case = f"rug_{modern}_{at}", f"rug-{modern}-{at}"
    assert name in await desk.listed(modern)
    await desk.call(name, modern, case=case)
    assert desk.reached(case) == 1
    before = desk.upstream.results["tools/list"]
    changed = [each | RUGS[at] if each["name"] == name else each for each in before["tools"]]
    desk.upstream.results["tools/list"] = before | {"tools": changed}
    try:
        assert name not in await desk.listed(modern)
    finally:
        desk.upstream.results["tools/list"] = before
    assert is_unknown(await desk.call(name, modern, case=case))
    assert name not in await desk.listed(modern)
    assert desk.reached(case) == 1


# Other ways to the same thing -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "params"),
    [
        ("resources/read", {"uri": "ticket://1"}),
        ("resources/subscribe", {"uri": "ticket://1"}),
        ("prompts/get", {"name": "get_ticket"}),
        ("completion/complete", {"ref": {"type": "ref/prompt", "name": "x"}, "argument": {}}),
        ("tasks/get", {"taskId": "1"}),
        ("tasks/result", {"taskId": "1"}),
        ("tasks/cancel", {"taskId": "1"}),
        ("subscriptions/listen", {"notifications": {}}),
        ("tools/run", {"name": "purge"}),
    ],
)
async def test_no_other_method_is_a_way_around(
    desk: Desk, modern: bool, method: str, params: dict[str, Any]
) -> None:
    """P31."""
    before = len(desk.upstream.seen)
    reply = await desk.scene.agent.ask(request(method, params, modern=modern))
    assert "result" not in (reply.document if reply.body else {}), reply.body
    assert len(desk.upstream.seen) == before


@pytest.mark.parametrize("end", ["sse", "message", "messages", "mcp/", "MCP", "mcp/sse", "mcp//"])
async def test_no_other_path_is_a_way_around(desk: Desk, modern: bool, end: str) -> None:
    """P32."""
    agent = desk.scene.agent.at(desk.scene.agent.path.removesuffix("mcp") + end)
    reply = await agent.ask(call("purge", modern=modern, case="other-path"))
    assert reply.status == 404
    assert desk.reached("other-path") == 0


@pytest.mark.parametrize("version", ["2024-11-05", "2025-03-26", "2025-06-18", LEGACY])
async def test_no_older_version_is_a_way_around(desk: Desk, version: str) -> None:
    """P32."""
    headers = [("MCP-Protocol-Version", version)]
    message = call("purge", modern=False, case="older")
    reply = await desk.scene.agent.ask(message, headers=headers)
    assert reply.status == 400 or is_unknown(reply)
    message = call("refund", modern=False, case="older", amount=9000)
    reply = await desk.scene.agent.ask(message, headers=headers)
    assert reply.status == 400 or is_denied(reply)
    assert desk.reached("older") == 0


async def test_what_is_listed_can_be_called_and_nothing_else(desk: Desk, modern: bool) -> None:
    """P33, under several policies."""
    everything = 'version: 1\nrules:\n  - {id: a, match: {method: "*"}, effect: allow}\n'
    for at, text in enumerate(
        (
            POLICY,
            everything,
            everything + "  - {id: b, match: {class: [admin, write]}, effect: deny}\n",
            everything + '  - {id: b, match: {tool: "*_ticket"}, effect: deny}\n',
            "version: 1\nrules: []\n",
        )
    ):
        await desk.take("client", text)
        listed = await desk.listed(modern)
        for name in CLASSES:
            case = f"agree-{modern}-{at}-{name}"
            reply = await desk.call(name, modern, case=case)
            assert is_unknown(reply) == (name not in listed), (text, name)
            assert desk.reached(case) <= (name in listed)
    await desk.take("client", POLICY)


# Approvals --------------------------------------------------------------------------------------


async def test_a_gated_call_waits_and_runs_once_when_approved(desk: Desk, modern: bool) -> None:
    """P19, P20."""
    case = f"gated-{modern}"
    approval = await desk.pending(await desk.call("send_mail", modern, case=case, to="a"))
    assert desk.reached(case) == 0
    await desk.decide("approve", approval)
    other = await desk.call("send_mail", modern, case=case, to="b")
    assert await desk.pending(other) != approval
    assert desk.reached(case) == 0
    done = await desk.call("send_mail", modern, case=case, to="a")
    assert "isError" not in done.document["result"]
    assert desk.reached(case) == 1
    assert await desk.pending(await desk.call("send_mail", modern, case=case, to="a")) != approval
    assert desk.reached(case) == 1


async def test_of_fifty_that_use_an_approval_one_runs(desk: Desk, modern: bool) -> None:
    """P22: by the upstream's own count."""
    case = f"fifty-{modern}"
    await desk.approved("send_mail", modern, case=case)
    replies: list[Any] = []

    async def use() -> None:
        replies.append(await desk.call("send_mail", modern, case=case))

    async with anyio.create_task_group() as tasks:
        for _ in range(50):
            tasks.start_soon(use)
    done = [each for each in replies if not each.document["result"].get("isError")]
    assert (len(replies), len(done), desk.reached(case)) == (50, 1, 1)


async def test_a_denied_or_expired_approval_runs_nothing(desk: Desk, modern: bool) -> None:
    """P23."""
    case = f"denied-{modern}"
    approval = await desk.pending(await desk.call("send_mail", modern, case=case))
    await desk.decide("deny", approval, "carol", "--reason", "no")
    assert (await desk.call("send_mail", modern, case=case)).document["result"]["isError"]
    with pytest.raises(CommandError):
        await desk.decide("approve", approval)
    with pytest.raises(CommandError):
        await desk.decide("approve", "f" * 32)
    await desk.take("client", POLICY.replace("ttl: 15m", "ttl: 5s"))
    case = f"expired-{modern}"
    approval = await desk.approved("send_mail", modern, case=case)

    async def over() -> bool:
        shown = await desk.lab.relay_json("approval", "show", approval)
        return bool(shown["approval"]["state"] == "expired")

    await eventually(over, every=0.2)
    assert await desk.pending(await desk.call("send_mail", modern, case=case)) != approval
    assert desk.reached(case) == 0
    await desk.take("client", POLICY)


async def test_another_policy_takes_another_approval(desk: Desk, modern: bool) -> None:
    """P26."""
    case = f"policy-{modern}"
    approval = await desk.approved("send_mail", modern, case=case)
    await desk.take("client", POLICY + "  - {id: z, match: {tool: zzz}, effect: deny}\n")
    assert await desk.pending(await desk.call("send_mail", modern, case=case)) != approval
    assert desk.reached(case) == 0
    await desk.take("client", POLICY + "  - {id: z, match: {tool: send_mail}, effect: deny}\n")
    assert is_unknown(await desk.call("send_mail", modern, case=case))
    assert desk.reached(case) == 0
    await desk.take("client", POLICY)


async def test_a_tool_that_changes_takes_its_approval_along(desk: Desk, modern: bool) -> None:
    """P26."""
    name, case = f"rug_{modern}_4", f"rug-approved-{modern}"
    gate = (
        f"  - {{id: rug, match: {{tool: {name}}}, effect: require_approval, "
        "approvers: {group: [approvers]}}\n"
    )
    await desk.take("client", POLICY + gate)
    await desk.approved(name, modern, case=case)
    before = desk.upstream.results["tools/list"]
    changed = [each | RUGS[0] if each["name"] == name else each for each in before["tools"]]
    desk.upstream.results["tools/list"] = before | {"tools": changed}
    try:
        assert name not in await desk.listed(modern)
        assert is_unknown(await desk.call(name, modern, case=case))
    finally:
        desk.upstream.results["tools/list"] = before
    assert desk.reached(case) == 0
    await desk.take("client", POLICY)


async def test_nobody_uses_what_a_switched_off_session_or_approver_left(
    desk: Desk, modern: bool
) -> None:
    """P27."""
    case = f"off-{modern}"
    mine = await desk.session()
    waiting = await desk.call("send_mail", modern, mine.agent, case=case)
    await desk.decide("approve", await desk.pending(waiting))
    other = await desk.call("send_mail", modern, case=case)
    assert await desk.pending(other), "an approval is one session's"
    await desk.lab.relay_command("session", "revoke", mine.id, "--reason", "test")
    assert (await desk.call("send_mail", modern, mine.agent, case=case)).status == 401
    case, who = f"approver-{modern}", "dave" if modern else "erin"
    approval = await desk.pending(await desk.call("send_mail", modern, case=case))
    await desk.decide("approve", approval, who)
    await desk.lab.relay_command("user", "disable", who, "--reason", "test")
    assert (await desk.call("send_mail", modern, case=case)).document["result"]["isError"]
    assert desk.reached(f"off-{modern}") == desk.reached(case) == 0


async def test_answers_of_the_agent_are_a_part_of_what_was_approved(desk: Desk) -> None:
    """P40."""
    await desk.approved("send_mail", True, case="answers")
    message = call("send_mail", case="answers")
    message["params"]["inputResponses"] = {"q": {"action": "accept", "content": {"to": "evil"}}}
    assert await desk.pending(await desk.scene.agent.ask(message))
    assert desk.reached("answers") == 0
    await desk.call("send_mail", True, case="answers")
    assert desk.reached("answers") == 1
