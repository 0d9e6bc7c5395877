"""Logs for tests: lines in memory as a writer spells them, and logs in folders."""

from collections.abc import Iterable
from pathlib import Path

from shared.audit.log import AuditLog
from shared.keys import PrivateKey
from shared.record import encode
from shared.record.chain import START, line_of, link
from shared.record.checkpoint import Checkpoint, read_note, sign
from shared.record.tree import Tree

ORIGIN = "tests/log"
KEY = PrivateKey.generate()
SAID = encode.said(
    {
        "server": "crm",
        "http": "POST",
        "method": "tools/call",
        "name": "look_up",
        "class": "read",
        "definition": "d" * 64,
    },
    {"user": "ada", "agent": "helper", "session": "5" * 32, "claimed": "bot/1"},
    {"by": None, "decision": "allow", "policy": "b" * 64, "rule": "reads"},
)


def call_name(number: int) -> bytes:
    """Return the name of a call as both ends have it."""
    return b"%016x.%d" % (0xFEED, number)


def intent(seq: int, number: int, said: bytes = SAID, **more: bytes) -> bytes:
    """Return the intent of call `number` as record `seq`."""
    arguments = b'{"id":"hmac:%032x"}' % number
    now = 1_795_000_000_000_000 + seq
    return encode.intent(call_name(number), seq, now, arguments, b"f" * 64, said, **more)


def completion(seq: int, number: int, begun: int, result: bytes = b"ok") -> bytes:
    """Return the completion of call `number`, whose intent is record `begun`."""
    now = 1_795_000_000_000_000 + seq
    return encode.completion(call_name(number), seq, now, begun, result, b"done", 200, 120, 888)


def records_of(calls: int) -> list[bytes]:
    """Return the records of so many calls, one after the other."""
    found: list[bytes] = []
    for number in range(calls):
        seq = len(found)
        found += [intent(seq, number), completion(seq + 1, number, seq)]
    return found


def chained(records: Iterable[bytes]) -> list[bytes]:
    """Return the lines of records."""
    found: list[bytes] = []
    before = START
    for record in records:
        before = link(before, record)
        found.append(line_of(before, record))
    return found


def points_of(lines: Iterable[bytes], every: int) -> list[Checkpoint]:
    """Return checkpoints of lines, one after so many and one of them all, read from notes."""
    tree, found = Tree(), []
    for line in lines:
        tree.add(bytes.fromhex(line[9:73].decode()))
        if tree.size % every == 0:
            found.append(point_of(tree))
    return [*found, point_of(tree)]


def point_of(tree: Tree) -> Checkpoint:
    """Return the checkpoint of a tree, as it is read from a signed note."""
    return read_note(sign(Checkpoint(ORIGIN, tree.size, tree.root()), KEY), KEY.public)


def write_calls(log: AuditLog, calls: int, first: int = 0, said: bytes = SAID) -> None:
    """Have a log write so many calls, each with its completion."""
    for number in range(first, first + calls):
        seq = log.take(intent(log.size, number, said))
        log.take(completion(log.size, number, seq))
        log.flush()


async def written(folder: Path, calls: int = 8, **settings: float) -> AuditLog:
    """Return a log in a folder that holds so many calls, closed again."""
    log = AuditLog(folder, ORIGIN, **settings)  # type: ignore[arg-type]
    write_calls(log, calls)
    assert log.close() is None
    return log
