"""A write waits for the disk that has its intent, a read does not; both keep their number."""

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from shared.audit.log import AuditLog, Tell
from shared.wire.tools import PinState, ToolWord
from tests.helpers.audit_log import records
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
    next_stream = 7

    def __init__(self) -> None:
        self.turn: list[Callable[[], object]] = []

    def at_turn_end(self, act: Callable[[], object]) -> None:
        self.turn.append(act)


class Stream:
    """What the calls need of an exchange, and what they did with it, in order."""

    done = False
    written: Written | None = None
    call = SimpleNamespace(permit="", trace=b"")

    def __init__(self, name: str, told: list[tuple[Any, ...]]) -> None:
        self._name, self._told = name, told

    def open(self, head: bytes, body: bytes) -> None:
        self._told.append((self._name, "open", body))

    def begin(self, head: bytes) -> None:
        self._told.append((self._name, "begin"))

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
        calls.when_written(Stream(name, told), lane, b"head", name.encode(), known)  # type: ignore[arg-type]
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
