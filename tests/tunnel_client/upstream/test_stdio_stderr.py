from collections.abc import Sequence

import pytest
from structlog.testing import capture_logs

from tests.helpers.upstream_peer import upstream_of
from tunnel_client.upstream.stdio_command import StdioLimits
from tunnel_client.upstream.stdio_stderr import StderrLog


def log_to(
    written: list[tuple[str, int]], *secrets: str, lines: int = 100, size: int = 65536
) -> StderrLog:
    limits = StdioLimits(stderr_lines=lines, stderr_bytes=size)
    found: Sequence[str] = secrets
    return StderrLog(lambda text, dropped: written.append((text, dropped)), found, limits)


def test_lines_are_put_together_from_pieces() -> None:
    written: list[tuple[str, int]] = []
    log = log_to(written)
    for piece in (b"on", b"e\ntwo\n\n", b"thr", b"ee"):
        log.feed(piece, 0.0)
    log.end(0.0)
    assert written == [("one", 0), ("two", 0), ("three", 0)]


def test_a_flood_is_counted_instead_of_written() -> None:
    """L08."""
    written: list[tuple[str, int]] = []
    log = log_to(written, lines=3)
    log.feed(b"x\n" * 1000, 0.0)
    assert len(written) == 3
    log.feed(b"later\n", 10.0)
    assert written[3] == ("later", 997)
    log.feed(b"y\n" * 5, 10.0)
    log.end(10.0)
    assert written[-1] == ("", 3)


def test_bytes_are_capped_too() -> None:
    written: list[tuple[str, int]] = []
    log = log_to(written, size=250)
    log.feed((b"x" * 100 + b"\n") * 5, 0.0)
    log.end(0.0)
    assert [text for text, _ in written] == ["x" * 100] * 2 + [""]
    assert written[-1][1] == 3


def test_a_line_without_end_is_cut_and_not_kept() -> None:
    written: list[tuple[str, int]] = []
    log = log_to(written)
    for _ in range(100):
        log.feed(b"x" * 10_000, 0.0)
    log.feed(b"rest\nnext\n", 0.0)
    assert [len(text) for text, _ in written] == [4096, 4]


def test_secrets_and_terminal_escapes_do_not_show() -> None:
    """L08."""
    written: list[tuple[str, int]] = []
    log = log_to(written, "canary-value")
    log.feed(b"token=canary-value \x1b[2J\xff\n", 0.0)
    assert written == [("token=[hidden] \\x1b[2J�", 0)]


@pytest.mark.parametrize("end", ["\n", "\r\n", "\n    ", "\\n", " ", ""])
def test_no_line_of_a_secret_that_has_several_shows(end: str) -> None:
    """L08: a key in PEM, on as many lines as the child likes."""
    lines = ["--BEGIN KEY--", "kqhkiG9w0BAQEFAAS", "+8Tz7/Lm2Pw7Tf0Kd", "--END KEY--"]
    for secret in ("\n".join(lines), "\r\n".join(lines) + "\r\n"):
        written: list[tuple[str, int]] = []
        log = log_to(written, secret)
        for char in f"key={end.join(lines)}!\n":
            log.feed(char.encode(), 0.0)
        log.end(0.0)
        said = " ".join(text for text, _ in written)
        assert said.count("[hidden]") == len(lines)
        assert not any(line in said for line in lines)


def test_no_half_of_a_secret_shows_where_an_overlong_line_is_cut() -> None:
    written: list[tuple[str, int]] = []
    log = log_to(written, "canary-value")
    for piece in (b"x" * 4090 + b"canary-", b"value", b"x" * 10_000, b"\n"):
        log.feed(piece, 0.0)
    assert [text for text, _ in written] == [("x" * 4090 + "[hidden]")[:4096]]


def test_short_lines_of_a_secret_do_not_blot_out_plain_words() -> None:
    written: list[tuple[str, int]] = []
    log = log_to(written, "canary-value\nerror\n}")
    log.feed(b"canary-value}: error\n", 0.0)
    assert written == [("[hidden]}: error", 0)]


async def test_a_childs_flood_does_not_fill_our_log_nor_block_it() -> None:
    """L08."""
    with capture_logs() as entries:
        async with upstream_of(env={"TOKEN": "canary-value"}) as peer:
            arguments = {"lines": 20_000, "say": "canary-value"}
            assert (await peer.modern_call("complain", arguments).done()).status == 200
    said = [entry for entry in entries if entry["event"] == "child says"]
    assert len(said) <= 200
    assert "canary" not in str(entries)
    assert any("dropped" in entry["event"] for entry in entries)
