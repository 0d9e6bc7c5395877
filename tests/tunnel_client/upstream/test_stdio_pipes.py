import asyncio
import os
from contextlib import suppress

from tests.helpers.upstream_peer import eventually
from tunnel_client.upstream.stdio_pipes import LineReader, PipeWriter


class Reading:
    def __init__(self, limit: int = 100) -> None:
        self.lines: list[bytes] = []
        self.ends: list[str | None] = []
        self.read_end, self.write_end = os.pipe()
        self.reader = LineReader(
            asyncio.get_running_loop(), self.read_end, limit, self.lines.append, self.ends.append
        )

    def close(self) -> None:
        self.reader.close()
        os.close(self.read_end)


async def test_lines_are_cut_and_empty_ones_skipped() -> None:
    reading = Reading()
    os.write(reading.write_end, b"one\n\n \ntwo\nthr")
    await eventually(lambda: len(reading.lines) == 2)
    os.write(reading.write_end, b"ee\n")
    await eventually(lambda: reading.lines == [b"one", b"two", b"three"])
    os.close(reading.write_end)
    await eventually(lambda: reading.ends == [None])
    reading.close()


async def test_a_long_line_ends_the_reading_before_its_end_is_seen() -> None:
    for text in (b"x" * 101, b"short\n" + b"x" * 101 + b"\nafter\n"):
        reading = Reading()
        os.write(reading.write_end, text)
        await eventually(lambda reading=reading: bool(reading.ends))  # type: ignore[misc]
        assert reading.ends == ["a message was longer than 100 bytes"]
        assert b"after" not in reading.lines
        os.close(reading.write_end)
        reading.close()


async def test_nothing_is_read_while_paused() -> None:
    reading = Reading()
    reading.reader.pause()
    os.write(reading.write_end, b"one\n")
    # A second pipe on the same loop shows that the loop went around.
    other = Reading()
    os.write(other.write_end, b"two\n")
    await eventually(lambda: other.lines == [b"two"])
    assert reading.lines == []
    reading.reader.resume()
    await eventually(lambda: reading.lines == [b"one"])
    for each in (reading, other):
        os.close(each.write_end)
        each.close()


async def test_what_a_pipe_does_not_take_is_sent_later_and_in_order() -> None:
    read_end, write_end = os.pipe()
    writer = PipeWriter(asyncio.get_running_loop(), write_end)
    sent = [bytes([65 + n]) * 100_000 for n in range(5)]
    for each in sent:
        writer.write(each)
    assert writer.waiting > 0
    got = bytearray()
    os.set_blocking(read_end, False)

    def pull() -> bool:
        with suppress(BlockingIOError):
            got.extend(os.read(read_end, 50_000))
        return len(got) == 500_000

    await eventually(pull)
    assert bytes(got) == b"".join(sent)
    assert writer.waiting == 0
    writer.close()
    assert os.read(read_end, 10) == b""
    os.close(write_end)
    os.close(read_end)


async def test_writing_to_a_closed_pipe_is_no_error() -> None:
    read_end, write_end = os.pipe()
    writer = PipeWriter(asyncio.get_running_loop(), write_end)
    os.close(read_end)
    writer.write(b"x")
    writer.write(b"y")
    assert writer.waiting == 0
    os.close(write_end)
