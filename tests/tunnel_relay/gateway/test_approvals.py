"""What an agent hears of an approval, and the permit its call goes out with. Once for each era."""

import json
from pathlib import Path
from typing import Any

import anyio
import pytest

from shared.jsonrpc.envelope import CAPABILITIES_KEY, VERSION_KEY, parse
from shared.keys import PrivateKey
from shared.permit import OWN_ANSWERS, arguments_digest, check_keys, decode
from tests.tunnel_relay.admin.test_service import broken
from tests.tunnel_relay.approvals.scene import PARAMS, POLICY, SHA, Office, an_office, needs
from tunnel_relay.approvals.requests import MAX_OF_SESSION
from tunnel_relay.gateway.approvals import META, Asking, Go

KEY = PrivateKey.generate()
CONSOLE = "https://console.example.com"
ERAS = ["2025-11-25", "2026-07-28"]
URLS: dict[str, Any] = {"elicitation": {"url": {}}}
DETAIL = json.dumps(
    {"rule": "r", "class": "write", "sha256": SHA, "policy": POLICY, "groups": ["ops"]}
)


def a_call(era: str, capabilities: dict[str, Any] | None = None, **more: Any) -> bytes:
    meta = {VERSION_KEY: era, CAPABILITIES_KEY: capabilities or {}} if era >= "2026" else {}
    params = PARAMS | more | {"_meta": meta}
    message = {"jsonrpc": "2.0", "id": 7, "method": "tools/call", "params": params}
    return json.dumps(message).encode()


def asking(office: Office, console: str | None = CONSOLE) -> Asking:
    return Asking(office.admin.approvals, KEY, console)


async def ask(office: Office, body: bytes, console: str | None = CONSOLE) -> dict[str, Any]:
    gate = asking(office, console)
    answer = await gate.asked_by_client(office.session, parse(body), body, DETAIL)
    assert (answer.status, json.loads(answer.body)["id"]) == (200, 7)
    result: dict[str, Any] = json.loads(answer.body)["result"]
    return result


async def take(office: Office, body: bytes) -> Go:
    return await asking(office).take(office.session, parse(body), body)


@pytest.mark.parametrize("era", ERAS)
async def test_an_agent_is_told_to_wait_and_repeats_its_call(tmp_path: Path, era: str) -> None:
    """P19."""
    async with an_office(tmp_path) as office:
        body = a_call(era)
        told = await ask(office, body)
        (asked,) = office.admin.approvals.requests
        assert told["isError"] is True
        assert told["content"][0]["text"].startswith(f"approval pending: {asked.id[:12]}.")
        assert told["_meta"][META]["id"] == asked.id
        assert told.get("resultType") == ("complete" if era >= "2026" else None)
        assert (await take(office, body)) == Go()
        assert not asking(office).ready(office.session.id, parse(body))
        await office.approve("pia", asked)
        assert asking(office).ready(office.session.id, parse(body))
        again = json.loads(body) | {"id": 8}
        gone = await take(office, json.dumps(again).encode())
        permit = decode(gone.permit)
        check_keys(permit, [], 1, KEY.public)
        assert permit.approvers == ("pia",)
        assert permit.permit.arguments == arguments_digest(PARAMS)
        assert (permit.permit.server, permit.permit.session) == ("mail", office.session.id)
        assert (await take(office, body)) == Go()


async def test_of_fifty_repeats_one_goes_with_the_permit(tmp_path: Path) -> None:
    """P22."""
    async with an_office(tmp_path) as office:
        body, gone = a_call(ERAS[0]), []
        await ask(office, body)
        (asked,) = office.admin.approvals.requests
        await office.approve("pia", asked)

        async def repeat() -> None:
            gone.append(await take(office, body))

        async with anyio.create_task_group() as tasks:
            for _ in range(50):
                tasks.start_soon(repeat)
        assert sum(bool(each.permit) for each in gone) == 1
        assert sum(each.answer is not None for each in gone) == 49
        texts = {each.answer.body for each in gone if each.answer}
        assert all(b"good for one" in text for text in texts)


async def test_an_agent_that_can_is_led_to_the_page_once(tmp_path: Path) -> None:
    async with an_office(tmp_path) as office:
        body = a_call(ERAS[1], URLS)
        told = await ask(office, body)
        (asked,) = office.admin.approvals.requests
        assert told["resultType"] == "input_required"
        ((key, request),) = told["inputRequests"].items()
        assert key == OWN_ANSWERS + asked.id
        assert request["method"] == "elicitation/create"
        assert request["params"]["mode"] == "url"
        assert request["params"]["url"] == f"{CONSOLE}/approvals/{asked.id}"
        seen = a_call(ERAS[1], URLS, inputResponses={key: {"action": "accept"}})
        told = await ask(office, seen)
        assert told["isError"] is True
        assert len(office.admin.approvals.requests) == 1
        await office.approve("pia", asked)
        assert (await take(office, seen)).permit


@pytest.mark.parametrize(
    ("body", "console"),
    [
        (a_call(ERAS[1], URLS), None),
        (a_call(ERAS[1], {"elicitation": {}}), CONSOLE),
        (a_call(ERAS[1], {"elicitation": {"form": {}}}), CONSOLE),
        (a_call(ERAS[1], {"elicitation": True}), CONSOLE),
        (a_call(ERAS[0], URLS), CONSOLE),
    ],
)
async def test_any_other_agent_is_told_in_words(
    tmp_path: Path, body: bytes, console: str | None
) -> None:
    async with an_office(tmp_path) as office:
        assert (await ask(office, body, console))["isError"] is True


@pytest.mark.parametrize("era", ERAS)
async def test_other_arguments_get_no_permit(tmp_path: Path, era: str) -> None:
    """P20, P40."""
    async with an_office(tmp_path) as office:
        body = a_call(era)
        await ask(office, body)
        (asked,) = office.admin.approvals.requests
        await office.approve("pia", asked)
        for more in (
            {"arguments": {"to": "b@example.com"}},
            {"inputResponses": {"q": {"action": "accept", "content": {"to": "b"}}}},
            {"inputResponses": {OWN_ANSWERS + asked.id: {"action": "accept", "content": {}}}},
            {"requestState": "s"},
        ):
            assert await take(office, a_call(era, **more)) == Go()


async def test_a_denied_call_is_told_so_and_too_many_are_turned_away(tmp_path: Path) -> None:
    """P29."""
    async with an_office(tmp_path) as office:
        body = a_call(ERAS[0])
        await ask(office, body)
        (asked,) = office.admin.approvals.requests
        await office.run("pia", "approval_deny", approval=asked.id, reason="secret reason")
        told = await ask(office, body)
        assert "denied" in told["content"][0]["text"]
        assert "secret reason" not in str(told)
        for number in range(MAX_OF_SESSION - 1):
            await ask(office, a_call(ERAS[0], arguments={"n": number}))
        last = a_call(ERAS[0], arguments={"n": -1})
        gate = asking(office)
        answer = await gate.asked_by_client(office.session, parse(last), last, DETAIL)
        assert answer.status == 429
        assert b"too many pending approvals" in answer.body
        assert dict(answer.headers)[b"retry-after"] == b"60"


async def test_what_nobody_could_approve_is_not_asked_about(tmp_path: Path) -> None:
    async with an_office(tmp_path) as office:
        body = a_call(ERAS[0])
        for detail in ("", "{}", DETAIL.replace("ops", "")):
            gate = asking(office)
            answer = await gate.asked_by_client(office.session, parse(body), body, detail)
            assert b"nobody could give it" in answer.body
        large = a_call(ERAS[0], arguments={"text": "x" * 300_000})
        assert "over 256 KiB" in (await ask(office, large))["content"][0]["text"]
        assert len(office.admin.approvals.requests) == 0


async def test_without_a_store_nothing_is_dispatched(tmp_path: Path) -> None:
    async with an_office(tmp_path) as office:
        body = a_call(ERAS[0])
        await ask(office, body)
        (asked,) = office.admin.approvals.requests
        await office.approve("pia", asked)
        broken(tmp_path, "approvals")
        gone = await take(office, body)
        assert gone.answer is not None
        assert gone.answer.status == 503
        other = a_call(ERAS[0], arguments={})
        answer = await asking(office).ask(office.session, parse(other), other, needs())
        assert answer.status == 503
