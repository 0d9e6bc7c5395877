"""A relay that shows one thing and has another signed gets no signature."""

from pathlib import Path
from typing import Any

import pytest

from shared.jsonrpc.canonical import digest
from shared.keys import PrivateKey, decode_public, verify
from shared.permit import approver_message
from tests.tunnel_relay.approvals.scene import PARAMS, an_office, needs
from tunnel_relay.approvals.signing import check, sign
from tunnel_relay.errors import Code, RelayError

DEFINITION = '{"description":"Sends mail","name":"send"}'


async def shown(folder: Path) -> dict[str, Any]:
    async with an_office(folder) as office:
        wanted = needs(definition=digest({"description": "Sends mail", "name": "send"}))
        desk = office.admin.approvals
        asked = await desk.ask(office.session, "send", PARAMS, wanted, DEFINITION)
        found: dict[str, Any] = await office.run("pia", "approval_show", approval=asked.id)
        return found


async def test_what_was_shown_is_signed(tmp_path: Path) -> None:
    answer = await shown(tmp_path)
    key = PrivateKey.generate()
    checked = check(answer)
    made = sign(checked, key)
    assert decode_public(made["key"]) == key.public
    message = approver_message(checked.permit)
    assert verify(key.public, bytes.fromhex(made["signature"]), message)
    assert checked.permit.tool == "send"


@pytest.mark.parametrize(
    "change",
    [
        {"text": '{"arguments":{"text":"hello","to":"b@example.com"}}'},
        {"text": '{"arguments": {"text":"hello","to":"a@example.com"}}'},
        {"text": "nonsense"},
        {"text": 5},
        {"definition_text": DEFINITION.replace("Sends", "Reads")},
        {"definition_text": "{"},
        {"payload": "{}"},
        {"payload": None},
        {"id": "0" * 32},
    ],
)
async def test_what_is_not_what_was_shown_is_not(tmp_path: Path, change: dict[str, Any]) -> None:
    answer = await shown(tmp_path)
    with pytest.raises(RelayError) as caught:
        check(answer | change)
    assert caught.value.code is Code.NOT_AS_SHOWN


async def test_what_is_not_kept_any_more_cannot_be_signed(tmp_path: Path) -> None:
    with pytest.raises(RelayError) as caught:
        check(await shown(tmp_path) | {"text": None})
    assert caught.value.code is Code.APPROVAL_OVER
