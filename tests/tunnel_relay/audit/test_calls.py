"""A write waits for the disk that has its intent, a read does not; both keep their number."""

import errno
import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from shared.audit.disk import Disk
from shared.audit.log import AuditLog, Tell
from shared.jsonrpc.envelope import parse
from shared.policy.classes import ToolClass
from shared.record.export.formats import Formatter
from shared.record.export.joined import Origin
from shared.wire.tools import PinState, ToolWord
from tests.helpers.audit_log import records
from tests.helpers.log_lines import chained, completion, intent
from tunnel_relay.audit.calls import Calls, Known, Written

READ = Known(None, "p", False, b'"what":{},"who":{},"why":{}')
WRITE = READ._replace(changes=True, tool=ToolWord("t", None, "a" * 64, PinState.PINNED))


class SlowDisk(AuditLog):
    """A log whose disk says that it has a record when the test lets it."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, "test")
        self.asked: list[tuple[int, Tell]] = []

    def durable(self, seq: int, tell: Tell) -> None:
        self.asked.append((seq, tell))


class Lane:
    """What the calls of a link need of its driver."""

    link = "00aa"
    lost = False

    def __init__(self, full: bool = False) -> None:
        self.turn: list[Callable[[], object]] = []
        self.next_stream = 7
        self.full = full

    def skip(self) -> None:
        self.next_stream += 1

    def at_turn_end(self, act: Callable[[], object]) -> None:
        self.turn.append(act)


class Stream:
    """What the calls need of an exchange, and what they did with it, in order."""

    done = False
    written: Written | None = None
    call = SimpleNamespace(permit="", trace=b"")

    def __init__(self, name: str, told: list[tuple[Any, ...]], lane: Lane) -> None:
        self._name, self._told, self._lane = name, told, lane
        self.stream = 0

    def open(self, head: bytes, body: bytes) -> None:
        self._told.append((self._name, "open", body))
        self._take()

    def begin(self, head: bytes) -> None:
        self._told.append((self._name, "begin"))
        self._take()

    def _take(self) -> None:
        if not self._lane.full:
            self.stream = self._lane.next_stream
            self._lane.next_stream += 1

    def go_on(self, body: bytes, why: str | None) -> None:
        self._told.append((self._name, "go on", body, why))

    def unsent(self, cause: object) -> None:
        self._told.append((self._name, "unsent"))


async def test_a_write_keeps_its_body_back_until_the_disk_has_its_intent_and_a_read_does_not(
    tmp_path: Path,
) -> None:
    """A08."""
    log, lane = SlowDisk(tmp_path / "log"), Lane()
    calls, told = Calls(log), list[tuple[Any, ...]]()
    for name, known in (("write", WRITE), ("read", READ), ("more", WRITE)):
        calls.when_written(Stream(name, told, lane), lane, b"head", name.encode(), known)  # type: ignore[arg-type]
    (turn,) = lane.turn
    turn()
    assert told == [("write", "begin"), ("read", "open", b"read"), ("more", "begin")]
    intents = records(tmp_path / "log", "call.intent")
    assert [each["call"] for each in intents] == ["00aa.7", "00aa.8", "00aa.9"]
    assert [seq for seq, _ in log.asked] == [intents[0]["seq"], intents[2]["seq"]]
    log.asked[0][1](None)
    log.asked[1][1]("No space left on device")
    assert told[3:] == [
        ("write", "go on", b"write", None),
        ("more", "go on", b"more", "No space left on device"),
    ]
    log.close()


class FullDisk(AuditLog):
    """A log whose disk is full as long as a test says so."""

    full = False

    def _disk_for_more(self) -> Disk:
        if self.full:
            raise OSError(errno.ENOSPC, "No space left on device")
        return super()._disk_for_more()


async def test_a_call_that_is_not_sent_takes_its_name_along(tmp_path: Path) -> None:
    """A08: intents of a turn in which the disk fills up are owed; no later call is called so."""
    log, lane = FullDisk(tmp_path / "log", "test"), Lane()
    calls, told = Calls(log, reads_without=True), list[tuple[Any, ...]]()
    streams: list[Any] = []
    for full in (True, False):
        log.full = full
        for known in (WRITE, READ, WRITE, READ):
            streams.append(Stream(str(len(streams)), told, lane))
            calls.when_written(streams[-1], lane, b"head", b"body", known)  # type: ignore[arg-type]
        lane.turn.pop()()
        log.failing = None
    log.close()
    assert [each.stream for each in streams] == [0, 8, 0, 10, 11, 12, 13, 14]
    found = records(tmp_path / "log", "call.intent")
    assert [each["call"] for each in found] == [f"00aa.{number}" for number in range(7, 15)]


async def test_a_call_for_which_the_link_has_no_room_takes_its_name_along(tmp_path: Path) -> None:
    log, lane = AuditLog(tmp_path / "log", "test"), Lane(full=True)
    calls, told = Calls(log), list[tuple[Any, ...]]()
    for known in (READ, WRITE):
        calls.when_written(Stream("one", told, lane), lane, b"head", b"", known)  # type: ignore[arg-type]
        lane.turn.pop()()
    log.close()
    names = [each["call"] for each in records(tmp_path / "log", "call.intent")]
    assert names == ["00aa.7", "00aa.8"]


@pytest.mark.parametrize("state", PinState)
async def test_only_a_pinned_tool_has_a_definition_in_a_record(
    tmp_path: Path, state: PinState
) -> None:
    """The name of any other is the client's word alone: nothing that counts may be called by it."""
    log = AuditLog(tmp_path / "log", "test")
    tool = ToolWord("look_up", ToolClass.READ, "a" * 64, state)
    request: Any = SimpleNamespace(method=b"POST", trace=None, agent=None)
    session: Any = SimpleNamespace(
        id="0" * 32, upstream="office/crm", agent="a", user="ada", tunnel="office"
    )
    link: Any = SimpleNamespace(tool=lambda *_: tool)
    body = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "look_up"}}
    envelope = parse(json.dumps(body).encode())
    call: Any = SimpleNamespace(
        session=session, request=request, decision=None, permit="", trace=b""
    )
    known = Calls(log).known(call, envelope, link, "p")
    assert isinstance(known, Known)
    what = json.loads(b"{%b}" % known.said)["what"]
    assert (what["name"], what["class"]) == ("look_up", "read")
    assert ("definition" in what) == (state is PinState.PINNED)
    line = chained([intent(0, 0, known.said), completion(1, 0, 0)])
    formatter = Formatter("otlp-metrics", Origin("tunnel-relay", "test", "1.0", "host"))
    _, spelled = [formatter.line(seq, each) for seq, each in enumerate(line)]
    labels = json.loads(spelled)["labels"]
    assert ("gen_ai.tool.name" in labels) == (state is PinState.PINNED)
    log.close()
