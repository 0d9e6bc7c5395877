"""What the benchmark of revocations counts as late, and when its promise is missed."""

from bench.doc import DOCUMENT, replaced
from bench.revoke import END, START, Timings, chunk, late_events


def body(*events: bytes) -> bytes:
    return b"".join(chunk(event).split(b"\r\n", 1)[1][:-2] for event in events)


def test_an_event_is_late_after_the_report_or_after_the_error() -> None:
    sent = b'{"sent":1.5}'
    error = b'{"error":{"code":1}}'
    assert late_events(body(b'{"begun":true}', sent, error), reported=2.0) == 0
    assert late_events(body(sent, error), reported=1.0) == 1
    assert late_events(body(error, sent), reported=2.0) == 1
    assert late_events(body(error) + b'data: {"se', reported=2.0) == 0


def timings(upstream: float = 2.0, late: int = 0, unfinished: int = 0) -> Timings:
    return Timings([1.0] * 200, [upstream] * 200, [3.0] * 200, late, unfinished)


def test_a_slow_cut_a_late_result_and_a_stream_that_goes_on_miss_the_promise() -> None:
    assert timings().kept
    assert not timings(late=1).kept
    assert not timings(unfinished=1).kept
    assert not timings(upstream=300.0).kept
    assert "| the agent's stream ended | 1.0 ms | 1.0 ms | 1.0 ms |" in timings().table()


def test_our_document_has_the_markers() -> None:
    replaced(DOCUMENT.read_text(), "new", START, END)
