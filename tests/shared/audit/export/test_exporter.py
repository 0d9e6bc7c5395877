"""A19: a sink that is down, slow, broken or not who it should be; then it comes back."""

import asyncio
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import anyio
import pytest
from click.testing import CliRunner
from structlog.testing import capture_logs

from shared.audit.export import sinks
from shared.audit.export.cursor import Cursor, cursor_path, read_cursor, write_cursor
from shared.audit.export.exporter import MOST, Codes, Exporter, halved
from shared.audit.export.settings import ExportSettings
from shared.audit.export.sinks import make_sink
from shared.audit.log import AuditLog
from shared.audit.private import MAX_BYTES, AuditError
from shared.audit.segments import segments
from shared.backoff import Backoff
from shared.record.export.formats import Formatter
from shared.record.export.joined import Origin
from tests.helpers.log_lines import write_calls, written
from tests.helpers.otlp import points_of
from tests.helpers.siem import HttpServer, NarrowServer, SyslogServer
from tests.helpers.tls import Authority
from tests.integration.scene import eventually
from tunnel_client.cli import cli

ORIGIN = Origin("tunnel-client", "tests/log", "1.0", "host.example")
TOTALS = '{"next":1,"hash":"","open":0,"missed":0,"totals":{"a":[-1]}}'
CODES = Codes("MT2610", "MT2611")


def exporter(log: Any, **settings: Any) -> Exporter:
    export = ExportSettings.model_validate({"name": "siem", **settings})
    syslog = export.target.scheme.startswith("syslog")
    formatter = Formatter(export.spelling, ORIGIN, syslog=syslog)
    sink = make_sink(export, None, ORIGIN)
    return Exporter(export, log, sink, formatter, CODES, pace=Backoff(0.01, 0.05))


@contextmanager
def running(log: Any, **settings: Any) -> Iterator[Exporter]:
    found = exporter(log, **settings)
    found.start()
    try:
        yield found
    finally:
        found.finish(5.0)
        found.stop(5.0)


async def until(holds: Callable[[], Any]) -> None:
    await eventually(holds, every=0.01)


def lines_of(folder: Path) -> list[bytes]:
    return [
        line
        for part in segments(folder)
        for line in part.path.read_bytes().splitlines()
        if line.endswith(b"}}")
    ]


def sent_to(status: dict[str, Any], log: AuditLog) -> bool:
    return status["next"] == log.size and status["problem"] is None


def all_taken(export: Exporter, log: AuditLog) -> bool:
    return sent_to(export.status(), log)


@pytest.mark.parametrize("mode", ["broken", "moved", "slow", "large"])
async def test_an_http_sink_that_refuses_gets_every_record_once_and_in_order(
    tmp_path: Path, mode: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if mode == "slow":
        monkeypatch.setattr(sinks, "DEADLINE", 0.2)
    log = AuditLog(tmp_path / "log", "tests/log")
    server = HttpServer()
    server.mode = mode
    with server.up(), running(log, to=f"http://127.0.0.1:{server.port}/") as export:
        write_calls(log, 5)
        await until(lambda: mode in server.asked)
        if mode != "large":
            # It is named, and the log goes on meanwhile.
            await until(lambda: export.status()["problem"])
            assert export.status()["behind"] > 0
            write_calls(log, 5, first=5)
        monkeypatch.setattr(sinks, "DEADLINE", 10.0)
        server.mode = "ok" if mode != "large" else mode
        await until(lambda: sent_to(export.status(), log))
        assert log.close() is None
    # A server that was slow may have taken what nobody waited for: it comes twice then.
    found = list(dict.fromkeys(server.lines)) if mode == "slow" else server.lines
    assert found == lines_of(tmp_path / "log")
    assert export.status()["missed"] == 0


@pytest.mark.parametrize("answer", [b"", b"HTTP/1.1 413 Content Too Large\r\n\r\n"])
async def test_a_sink_that_hangs_up_on_what_is_too_much_gets_less_at_a_time(
    tmp_path: Path, answer: bytes
) -> None:
    """It gets every record once and in order, and is tried with more once a batch."""
    log = await written(tmp_path / "log", 2 * MOST)
    server = NarrowServer(30_000, answers=answer)
    with server.up(), running(log, to=f"http://127.0.0.1:{server.port}/") as export:
        await until(lambda: sent_to(export.status(), log))
    assert server.lines == lines_of(tmp_path / "log")
    assert len(server.bodies) > 2 * MOST * 100 / 30_000
    halvings, batches = MOST.bit_length(), -(-log.size // MOST)
    assert 0 < server.cut <= halvings + batches


async def test_a_record_that_is_too_much_by_itself_is_named_and_not_skipped(
    tmp_path: Path,
) -> None:
    log = await written(tmp_path / "log", 3)
    server = NarrowServer(10)
    with server.up(), running(log, to=f"http://127.0.0.1:{server.port}/") as export:
        await until(lambda: export.status()["problem"])
        assert (export.status()["next"], server.bodies) == (0, [])


@pytest.mark.parametrize(
    ("most", "waiting", "left"),
    [(1000, 1000, 500), (1000, 5, 2), (3, 900, 1), (1, 9, 0), (9, 1, 0)],
)
def test_half_as_many_are_half_of_what_was_sent(most: int, waiting: int, left: int) -> None:
    assert halved(most, waiting) == left


async def test_a_syslog_server_that_was_down_and_somebody_else_gets_every_record_once(
    tmp_path: Path,
) -> None:
    authority = Authority()
    ca = authority.write(tmp_path / "ca.pem")
    log = AuditLog(tmp_path / "log", "tests/log")
    server = SyslogServer()
    to = f"syslog+tls://127.0.0.1:{server.port}"
    with running(log, to=to, ca=ca, format="jsonl") as export:
        write_calls(log, 3)
        await until(lambda: export.status()["problem"] == "Connection refused")
        with server.up(Authority().server("127.0.0.1")):
            await until(lambda: "certificate" in str(export.status()["problem"]))
        write_calls(log, 3, first=3)
        assert server.messages == []
        with server.up(authority.server("127.0.0.1")):
            await until(lambda: sent_to(export.status(), log))
            assert log.close() is None
            export.finish(5.0)
            export.stop(5.0)
    found = [message.partition(b'- {"hash"')[2] for message in server.messages]
    assert [b'{"hash"' + each for each in found] == lines_of(tmp_path / "log")


async def test_a_sink_that_does_not_read_stalls_nobody_but_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What it had in its buffers comes twice; by its number everything is there, in order."""
    monkeypatch.setattr(sinks, "DEADLINE", 0.2)
    log = AuditLog(tmp_path / "log", "tests/log")
    server = SyslogServer()
    server.reading.clear()
    to = f"syslog+tcp://127.0.0.1:{server.port}"
    with server.up(None), running(log, to=to, format="jsonl") as export:
        count = 0
        with anyio.fail_after(20):
            while export.status()["problem"] is None:
                # No more than is on its way: what waits has to go out afterwards.
                if export.status()["behind"] < 4000:
                    write_calls(log, 1000, first=count)
                    count += 1000
                await asyncio.sleep(0.01)
        monkeypatch.setattr(sinks, "DEADLINE", 10.0)
        server.reading.set()
        await until(lambda: sent_to(export.status(), log))
        assert log.close() is None
    numbers = [int(message.split(b'"seq":')[1].split(b",")[0]) for message in server.messages]
    assert list(dict.fromkeys(sorted(numbers))) == list(range(log.size))
    firsts = list(dict.fromkeys(numbers))
    assert firsts == sorted(firsts)


async def test_a_restart_goes_on_where_it_was_and_knows_the_calls_under_way(tmp_path: Path) -> None:
    out = tmp_path / "out"
    settings = {"to": f"file:{out}", "format": "ocsf"}
    log = AuditLog(tmp_path / "log", "tests/log")
    begun = log.take(_intent(log))
    with running(log, **settings) as export:
        await until(lambda: sent_to(export.status(), log))
    kept = read_cursor(cursor_path(log.folder, "siem"))
    assert (kept.next, kept.open) == (log.size, begun)
    from tests.helpers.log_lines import completion

    log.take(completion(log.size, 77, begun))
    with running(log, **settings) as export:
        await until(lambda: sent_to(export.status(), log))
        assert log.close() is None
    events = [json.loads(line) for line in out.read_bytes().splitlines()]
    assert [each["metadata"]["sequence"] for each in events] == list(range(log.size))
    (ended,) = [each for each in events if each["metadata"]["event_code"] == "call.completion"]
    assert ended["actor"]["user"] == {"name": "ada"}


def _intent(log: AuditLog) -> bytes:
    from tests.helpers.log_lines import intent

    return intent(log.size, 77)


async def test_calls_that_are_sent_twice_count_once(tmp_path: Path) -> None:
    """After an answer that got lost, a restart, and a kill before the place was written down."""
    log, server = AuditLog(tmp_path / "log", "tests/log"), HttpServer()
    to = f"otlp+http://127.0.0.1:{server.port}"
    settings = {"to": to, "format": "otlp-metrics"}
    with server.up():
        server.mode = "lost"
        with running(log, **settings) as export:
            write_calls(log, 5)
            await until(lambda: export.status()["problem"] and len(server.bodies) > 1)
            server.mode = "ok"
            await until(lambda: sent_to(export.status(), log))
        place = cursor_path(log.folder, "siem")
        before = place.read_bytes()
        for count, killed in ((3, True), (2, False)):
            write_calls(log, count, first=log.size)
            with running(log, **settings) as export:
                await until(lambda: sent_to(export.status(), log))
            if killed:
                place.write_bytes(before)
    assert log.close() is None
    points = [point for body in server.bodies for _, _, point in points_of(body)]
    assert [point.count for point in points[-2:]] == [8, 10]
    assert {sum(point.bucket_counts) for point in points} <= set(range(1, 11))
    assert len({point.start_time_unix_nano for point in points}) == 1
    times = [point.time_unix_nano for point in points]
    assert times == sorted(times)
    assert points[-1].sum == pytest.approx(10 * points[0].sum / points[0].count)


async def test_another_log_counts_from_nothing(tmp_path: Path) -> None:
    server = HttpServer()
    settings = {"to": f"otlp+http://127.0.0.1:{server.port}", "format": "otlp-metrics"}
    with server.up():
        for calls in (4, 3):
            log = await written(tmp_path / "log", calls)
            with running(log, **settings) as export:
                await until(partial(all_taken, export, log))
            for part in segments(log.folder):
                part.path.unlink()
            (log.folder / "checkpoints").unlink()
    assert [point.count for body in server.bodies for _, _, point in points_of(body)] == [4, 3]


def test_a_sink_that_fails_again_and_again_writes_few_lines(tmp_path: Path) -> None:
    found = exporter(SimpleNamespace(folder=tmp_path), to="syslog+tcp://127.0.0.1:9")
    with capture_logs() as lines:
        for _ in range(100):
            found._failed("refused")
    assert [line["event"] for line in lines] == ["export_failing"]
    assert found.problem == "refused"


async def test_records_that_retention_took_are_reported_as_missing(tmp_path: Path) -> None:
    log = await written(tmp_path / "log", 40, segment_bytes=4096)
    parts = segments(tmp_path / "log")
    for part in parts[:3]:
        part.path.unlink()
    out = tmp_path / "out"
    with running(log, to=f"file:{out}") as export:
        await until(lambda: sent_to(export.status(), log))
    said = [json.loads(line) for line in out.read_bytes().splitlines()]
    first = parts[3].first
    assert said[0] == {"export": {"from": 0, "to": first - 1}}
    assert [each["record"]["seq"] for each in said[1:]] == list(range(first, log.size))
    assert export.status()["missed"] == first
    assert read_cursor(cursor_path(log.folder, "siem")).missed == first


async def test_another_log_is_exported_from_its_beginning(tmp_path: Path) -> None:
    out = tmp_path / "out"
    log = await written(tmp_path / "log", 8)
    with running(log, to=f"file:{out}") as export:
        await until(lambda: sent_to(export.status(), log))
    for part in segments(log.folder):
        part.path.unlink()
    (log.folder / "checkpoints").unlink()
    other = await written(tmp_path / "log", 9)
    out.unlink()
    with running(other, to=f"file:{out}") as export:
        await until(lambda: sent_to(export.status(), other))
    assert out.read_bytes().splitlines() == lines_of(tmp_path / "log")


@pytest.mark.parametrize(
    "text", ["", "[]", TOTALS, '{"next":-1,"hash":"","open":0,"missed":0}', "{"]
)
def test_a_place_that_cannot_be_read_is_not_guessed(tmp_path: Path, text: str) -> None:
    path = cursor_path(tmp_path, "siem")
    assert read_cursor(path) == Cursor()
    path.touch(mode=0o600)
    path.write_text(text)
    with pytest.raises(AuditError, match="does not say how far"):
        read_cursor(path)


def test_a_place_that_is_too_large_to_be_read_says_what_to_do(tmp_path: Path) -> None:
    path = cursor_path(tmp_path, "siem")
    path.touch(mode=0o600)
    path.write_bytes(b" " * (MAX_BYTES + 1))
    with pytest.raises(AuditError, match="too large; remove it to send all again"):
        read_cursor(path)


def test_a_place_is_never_written_so_that_it_cannot_be_read(tmp_path: Path) -> None:
    """What was counted then begins anew at the next start, and the place stays."""
    path = cursor_path(tmp_path, "siem")
    place = Cursor(7, "a" * 64, 5, 3, {f"{number:01000}": [0] * 18 for number in range(2000)})
    write_cursor(path, place)
    assert read_cursor(path) == place._replace(totals={})


async def test_a_place_that_cannot_be_read_holds_nobody_up_but_its_export(tmp_path: Path) -> None:
    """Nothing is sent and nothing is written over it until somebody removes it."""
    log, out = await written(tmp_path / "log", 4), tmp_path / "out"
    place = cursor_path(log.folder, "siem")
    place.touch(mode=0o600)
    place.write_text("{")
    with running(log, to=f"file:{out}") as export:
        await until(lambda: "remove it to send all again" in str(export.status()["problem"]))
        export.finish(0.0)
    assert (out.exists(), place.read_text()) == (False, "{")
    with running(log, to=f"file:{out}") as export:
        await until(lambda: export.status()["problem"])
        place.unlink()
        await until(lambda: sent_to(export.status(), log))
    assert out.read_bytes().splitlines() == lines_of(log.folder)


async def test_the_command_prints_a_part_of_a_folder(tmp_path: Path) -> None:
    log = await written(tmp_path / "log", 4)
    words = ["audit", "export", "--folder", str(tmp_path / "log")]

    def said(*more: str) -> list[dict[str, Any]]:
        done = CliRunner().invoke(cli, [*words, *more])
        assert done.exit_code == 0, done.output
        return [json.loads(line) for line in done.stdout.splitlines()]

    assert [each["record"]["seq"] for each in said()] == list(range(log.size))
    events = said("--format", "ocsf", "--from", "2", "--to", "3")
    assert [each["metadata"]["sequence"] for each in events] == [2, 3]
    # Its intent stands before the part that was asked for.
    assert events[0]["actor"]["user"] == {"name": "ada"}
    assert {each["name"] for each in said("--format", "otlp")} == {"tools/call look_up"}
