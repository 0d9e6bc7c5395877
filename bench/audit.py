"""What writing, verifying and searching a log cost: `python -m bench.audit [--write-doc]`.

In this process and on this disk, without a link: processor time, the least of several runs, because
other programs on the machine only ever add to it. Questions are timed by the clock.
"""

import asyncio
import contextlib
import datetime
import itertools
import resource
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

from bench import doc
from shared.audit.indexing import without
from shared.audit.log import AuditLog
from shared.audit.query import Query, Wanted
from shared.audit.segments import segments
from shared.audit.verifying import verify_folder
from shared.record import encode
from shared.record.redact import Redactor

START = "<!-- audit: written by `python -m bench.audit --write-doc`, do not edit -->"
END = "<!-- end of audit -->"
RECORDS = 1_000_000
REPEATS = 5
TURN = 16
"""Calls whose records are written in one turn of the loop, as under load."""
BODY = b'{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"look_up"}}' * 2
ARGUMENTS = {"id": "7", "amount": 100}
QUESTIONS = {
    "calls of one user": Wanted(user="user-5"),
    "calls of one session with one tool": Wanted(session=f"{5:032x}", tool="tool-5"),
    "calls that ended in a timeout": Wanted(result="timeout"),
    "those of one user": Wanted(user="user-5", result="timeout"),
    "one call": Wanted(call=f"{0xFEED:016x}.1234"),
    "what is not there": Wanted(kind="call.refused"),
}


class Spelled(NamedTuple):
    """Spells what repeats, for so many sessions, users and tools."""

    said: list[bytes]


def spelled(sessions: int = 997) -> Spelled:
    """Return what repeats in the records of so many sessions."""
    return Spelled(
        [
            encode.said(
                {
                    "server": "crm",
                    "http": "POST",
                    "method": "tools/call",
                    "name": f"tool-{each % 50}",
                    "class": "read",
                    "definition": "d" * 64,
                },
                {
                    "user": f"user-{each % 97}",
                    "agent": "bench",
                    "claimed": "bench/1",
                    "session": f"{each:032x}",
                },
                {"by": None, "decision": "allow", "policy": "b" * 64, "rule": "reads"},
            )
            for each in range(sessions)
        ]
    )


def least(act: Callable[[], object], times: int = 20_000, repeats: int = REPEATS) -> float:
    """Return microseconds of processor time for one run of `act`."""
    best = float("inf")
    for _ in range(repeats):
        began = time.process_time()
        for _ in itertools.repeat(None, times):
            act()
        best = min(best, time.process_time() - began)
    return best / times * 1e6


def spelling(times: int = 20_000) -> dict[str, float]:
    """Measure what makes a record, alone."""
    redactor = Redactor(bytes(32), {"read": ["id"]})
    tags, clear = redactor.fields(ARGUMENTS, "write"), redactor.fields(ARGUMENTS, "read")
    said = spelled(1).said[0]
    now = time.time_ns() // 1000

    def intent() -> bytes:
        return encode.intent(b"%016x.7" % 0xFEED, 7, now, b'{"id":"7"}', b"f" * 64, said)

    def completion() -> bytes:
        return encode.completion(b"%016x.7" % 0xFEED, 8, now, 7, b"ok", b"done", 200, 120, 888)

    return {
        "spelling an intent": least(intent, times),
        "spelling a completion": least(completion, times),
        "two arguments, one in clear": least(lambda: redactor.arguments(ARGUMENTS, clear), times),
        "two arguments as tags": least(lambda: redactor.arguments(ARGUMENTS, tags), times),
        "the digest of a body": least(lambda: sha256(BODY).hexdigest(), times),
    }


async def fill(folder: Path, count: int) -> tuple[AuditLog, float]:
    """Write so many records of calls; returns the closed log and microseconds for each record."""
    log = AuditLog(folder, "bench/log")
    said = spelled().said
    calls = 0
    began = time.process_time()
    while log.size < count:
        for calls in range(calls, calls + TURN):  # noqa: B020 - goes on where it was
            name = b"%016x.%d" % (0xFEED, calls)
            now = time.time_ns() // 1000
            text = b'{"id":"hmac:%032x"}' % calls
            record = encode.intent(name, log.size, now, text, b"f" * 64, said[calls % 997])
            seq = log.take(record)
            result = b"ok" if calls % 1000 else b"timeout"
            log.take(encode.completion(name, log.size, now, seq, result, b"done", 200, 120, 888))
        calls += 1
        log.flush()
        await asyncio.sleep(0)
    took = (time.process_time() - began) / log.size * 1e6
    if log.close() is not None:
        raise RuntimeError("the log could not be written")
    return log, took


async def waited(folder: Path, count: int) -> float:
    """Return the median milliseconds until one record is on the disk, nobody else waiting."""
    log = AuditLog(folder, "bench/log")
    loop = asyncio.get_running_loop()
    took = []
    for _ in range(count):
        told: asyncio.Future[str | None] = loop.create_future()
        began = time.perf_counter()
        seq = log.write(lambda seq, now: encode.event("link.up", {}, seq, now))
        log.durable(seq, told.set_result)
        if await told is not None:
            raise RuntimeError("the log could not be written")
        took.append(time.perf_counter() - began)
    log.close()
    return sorted(took)[len(took) // 2] * 1000


def verifying(log: AuditLog, repeats: int = 3) -> dict[str, float]:
    """Measure records a second, with and without what has to parse them."""
    found = {}
    for what, cross in (("chain, tree and checkpoints", False), ("calls and approvals too", True)):
        best = float("inf")
        for _ in range(repeats):
            began = time.process_time()
            report = verify_folder(log.folder, log.public, cross=cross)
            best = min(best, time.process_time() - began)
            if not report.ok or report.records != log.size:
                raise RuntimeError(f"the log does not verify: {report.reason}")
        found[what] = log.size / best
    return found


async def indexed(log: AuditLog, wait: float = 600.0) -> float:
    """Open the log until its closed segments have indexes; returns microseconds for each record.

    Processor time of the process that makes them, its start included.
    """
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    again = AuditLog(log.folder, log.origin)
    ends = time.monotonic() + wait
    while time.monotonic() < ends:
        await asyncio.sleep(0.1)
        closed = segments(log.folder)[:-1]
        if all(each.compressed for each in closed) and not without(log.folder):
            break
    again.close()
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    spent = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return spent / max(1, segments(log.folder)[-1].first) * 1e6


def first_question(log: AuditLog) -> float:
    """Measure the seconds that somebody waits who asks first."""
    began = time.perf_counter()
    with Query(log.folder) as query:
        query.page(Wanted(user="nobody"))
    return time.perf_counter() - began


def asking(log: AuditLog, repeats: int = REPEATS) -> dict[str, float]:
    """Measure seconds a question, in a new process each as far as the log can tell."""
    found = {"the first one": first_question(log)}
    for what, wanted in QUESTIONS.items():
        best = float("inf")
        for _ in range(repeats):
            began = time.perf_counter()
            with Query(log.folder) as query:
                query.page(wanted, limit=100)
            best = min(best, time.perf_counter() - began)
        found[what] = best
    return found


@contextlib.contextmanager
def _scratch() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="bench-audit-") as folder:
        yield Path(folder)


def table(records: int = RECORDS, times: int = 20_000) -> str:
    """Measure everything; returns Markdown tables."""
    with _scratch() as folder:
        written, took = asyncio.run(fill(folder / "log", records))
        on_disk = asyncio.run(waited(folder / "waited", max(20, times // 100)))
        plain = verifying(written)
        size = _size(folder / "log", ".jsonl")
        beside = asyncio.run(indexed(written))
        packed = _size(folder / "log", "")
        asked = asking(written)
        for path in (folder / "log").glob("*.index"):
            path.unlink()
        asked["the first one, when all indexes were thrown away"] = first_question(written)
    lines = ["| what is written for a call | us |", "| --- | ---: |"]
    lines += [f"| {what} | {us:.2f} |" for what, us in spelling(times).items()]
    lines.append(f"| a record in all: spelled, chained, written, signed | {took:.2f} |")
    lines.append(
        f"| closing its segment, by another process: compressed, and with an index | {beside:.2f} |"
    )
    lines += ["", "| verifying | records/s |", "| --- | ---: |"]
    lines += [f"| {what} | {rate:,.0f} |" for what, rate in plain.items()]
    lines += ["", f"| a question to {written.size:,} records | ms |", "| --- | ---: |"]
    lines += [f"| {what} | {seconds * 1000:,.0f} |" for what, seconds in asked.items()]
    told = (
        f"A record that waits for the disk alone, median: {on_disk:.2f} ms. "
        f"{written.size:,} records: {packed / 2**20:,.0f} MiB as they lie in the end, "
        f"of {size / 2**20:,.0f} MiB not compressed when the writer stopped."
    )
    lines += ["", told]
    return "\n".join(lines)


def _size(folder: Path, suffix: str) -> int:
    return sum(
        path.stat().st_size
        for path in folder.iterdir()
        if path.name.endswith(suffix) and not path.name.endswith(".index")
    )


def main() -> None:
    """Print the figures; with --write-doc put them into docs/benchmarks.md."""
    text = table()
    print(text)
    if "--write-doc" in sys.argv:
        when = doc.machine(datetime.datetime.now(datetime.UTC))
        doc.write(f"{when}\n\n{text}", START, END)


if __name__ == "__main__":
    main()
