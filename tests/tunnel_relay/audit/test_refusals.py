"""What is refused is one record each, up to a share of a minute; then it is counted."""

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest

from shared.audit.log import AuditLog
from shared.jsonrpc.envelope import parse
from shared.policy.classes import ToolClass
from shared.wire.tools import PinState, ToolWord
from tests.helpers.audit_log import holding, records
from tunnel_relay.audit.keep import Records
from tunnel_relay.audit.refusals import OF_SESSION, Refusals
from tunnel_relay.audit.saying import Claims
from tunnel_relay.gateway import answers
from tunnel_relay.gateway.answers import Answer, Why
from tunnel_relay.gateway.call import Call
from tunnel_relay.gateway.checks import Request
from tunnel_relay.store.base import Session

TOOL = ToolWord("send", ToolClass.WRITE, "d" * 64, PinState.PINNED)
SESSION = Session("5" * 32, b"", "uma", "bot", "office", "mail", 0.0, 0.0, 9e9, 9e9)
PEER = asyncio.BaseTransport({"peername": ("192.0.2.7", 4711)})


class Desk:
    def __init__(self, folder: Path, tool: ToolWord = TOOL) -> None:
        self.folder = folder
        self.log = AuditLog(folder, "test")
        self.kept = Records(self.log)
        self.at = 0.0
        self.refusals = Refusals(
            *(self.kept, Claims(), lambda _, name: tool if name == "send" else None),
            *(lambda: "p" * 64, lambda: self.at),
        )

    def tell(self, answer: Answer, about: Request | Call) -> None:
        self.refusals.told(answer, about, PEER)

    def close(self) -> None:
        self.kept.close()


def request(session: Session | None = SESSION) -> Request:
    made = Request()
    made.method = b"POST"
    made.headers = [(b"user-agent", b"evil\x1b[2J/1")]
    if session is not None:
        made.session = session
    return made


def call(tool: str) -> Call:
    body = b'{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"%b"}}' % tool.encode()
    return Call(request(), SESSION, parse(body))


async def test_a_refused_call_says_who_called_what_and_why_it_went_no_further(
    tmp_path: Path,
) -> None:
    """A10, A17: what the agent claims stands apart, and hides nothing."""
    desk = Desk(tmp_path / "log")
    desk.tell(Answer(200, b"{}", why=Why("a rule", "no mail", request="77")), call("send"))
    desk.tell(answers.too_many("calls", 3.2), request())
    desk.close()
    denied, limited = records(desk.folder, "call.refused")
    assert denied["who"] == {
        "agent": "bot",
        "claimed": "evil?[2J/1",
        "session": SESSION.id,
        "user": "uma",
    }
    assert denied["what"] == {
        "class": "write",
        "definition": TOOL.sha256,
        "http": "POST",
        "method": "tools/call",
        "name": "send",
        "server": "mail",
        "tunnel": "office",
    }
    assert denied["why"] == {"decision": "deny", "policy": "p" * 64, "rule": "no mail"}
    assert (denied["reason"], denied["request"], denied["source"]) == ("a rule", "77", "192.0.2.7")
    assert limited["reason"] == "too many calls"  # without the seconds, which always differ


@pytest.mark.parametrize("state", [PinState.NEW, PinState.CHANGED])
async def test_a_tool_that_is_not_pinned_has_no_definition(tmp_path: Path, state: PinState) -> None:
    """As at a call that is let through: its name is the client's word alone."""
    desk = Desk(tmp_path / "log", replace(TOOL, state=state))
    desk.tell(Answer(200, b"{}", why=Why("a rule")), call("send"))
    desk.close()
    (denied,) = records(desk.folder, "call.refused")
    assert (denied["what"]["name"], denied["what"]["class"]) == ("send", "write")
    assert "definition" not in denied["what"]


async def test_a_name_that_no_client_told_is_not_repeated(tmp_path: Path) -> None:
    """A11."""
    desk = Desk(tmp_path / "log")
    desk.tell(Answer(200, b"{}", why=Why("unknown")), call("canary-9c1f"))
    desk.close()
    assert len(records(desk.folder, "call.refused")) == 1
    assert holding(desk.folder, "canary-9c1f") == []


async def test_what_one_session_is_refused_beyond_its_share_is_counted_not_dropped(
    tmp_path: Path,
) -> None:
    desk = Desk(tmp_path / "log")
    for _ in range(OF_SESSION + 25):
        desk.tell(answers.too_many("calls", 1), request())
    desk.at = 61.0
    desk.tell(answers.NOT_FOUND, request())
    desk.close()
    found = records(desk.folder, "call.refused")
    assert [each.get("count") for each in found] == [None] * (OF_SESSION + 1) + [25]
    assert found[-1]["who"]["session"] == SESSION.id
    assert 0 < found[-1]["began"] <= found[-1]["ended"]


async def test_strangers_are_counted_by_reason_and_source(tmp_path: Path) -> None:
    """A10."""
    desk = Desk(tmp_path / "log")
    for _ in range(3):
        desk.tell(Answer(401, b"{}", why=Why("no token")), request(None))
    desk.tell(Answer(400, b"malformed"), request(None))
    desk.close()
    found = records(desk.folder, "call.unauthenticated")
    assert [(each["reason"], each["source"], each["count"]) for each in found] == [
        ("no token", "192.0.2.7", 3),
        ("answered with 400", "192.0.2.7", 1),
    ]
