"""What waits to be sent, and in which order it leaves.

Control frames and heads leave first and in order; body bytes leave stream by stream in rotation,
one frame a turn, as far as credit goes. So a 16 MiB result never delays a small call, and the
caller that asks for a message gets one of bounded size.
"""

from collections import deque

from shared.wire.frames import FLAG_END, UNNUMBERED, FrameType, encode_frame
from shared.wire.limits import MAX_PAYLOAD_BYTES
from shared.wire.windows import SendWindow

SMALL_BYTES = 16 * 1024
"""Body bytes up to this many go straight behind their head while nothing is in the way."""
PAUSE_BYTES = 128 * 1024
RESUME_BYTES = 32 * 1024


class SendQueue:
    """Body bytes one stream still has to send."""

    __slots__ = ("bytes", "chunks", "end", "paused", "queued", "stream", "window")

    def __init__(self, stream: int, window: int) -> None:
        self.stream = stream
        self.window = SendWindow(window)
        self.chunks: deque[memoryview] = deque()
        self.bytes = 0
        self.end = False
        self.paused = False
        self.queued = False


class Outbox:
    """Frames on their way out of one link, bounded by the credit the peer gave."""

    def __init__(self, link_window: int, flush_bytes: int) -> None:
        self.link = SendWindow(link_window)
        self._flush_bytes = flush_bytes
        self._ready: list[bytes] = []
        self.ready_bytes = 0
        """Bytes that no credit holds back: heads, control frames, small bodies."""
        self._numbered = 0
        self._ring: deque[SendQueue] = deque()
        self.finished: list[int] = []
        """Streams whose last byte left in rotation; the mux empties it."""

    def put(self, kind: FrameType, stream: int, payload: bytes = b"", flags: int = 0) -> None:
        """Queue a numbered frame that credit does not hold back."""
        self._numbered += 1
        self._append(encode_frame(kind, stream, payload, flags))

    def put_unnumbered(self, kind: FrameType, payload: bytes) -> None:
        """Queue PING or PONG, which stand outside the sequence."""
        self._append(encode_frame(kind, 0, payload))

    def _append(self, frame: bytes) -> None:
        self._ready.append(frame)
        self.ready_bytes += len(frame)

    def put_data(self, queue: SendQueue, data: bytes, end: bool) -> bool:
        """Queue body bytes of a stream; False asks the caller to wait for room."""
        size = len(data)
        if (
            not queue.bytes
            and not queue.end
            and size <= SMALL_BYTES
            and size <= queue.window.available
            and size <= self.link.available
            and self.ready_bytes < self._flush_bytes
        ):
            queue.window.available -= size
            self.link.available -= size
            self.put(FrameType.DATA, queue.stream, data, FLAG_END if end else 0)
            return True
        if size:
            queue.chunks.append(memoryview(data))
            queue.bytes += size
        queue.end = end
        self._enqueue(queue)
        if queue.bytes > PAUSE_BYTES:
            queue.paused = True
        return not queue.paused

    def _enqueue(self, queue: SendQueue) -> None:
        if not queue.queued:
            queue.queued = True
            self._ring.append(queue)

    def credit(self, queue: SendQueue, credit: int) -> None:
        """Take credit the peer gave a stream; raises FlowControlError."""
        queue.window.add(credit)
        if queue.bytes:
            self._enqueue(queue)

    def drop(self, queue: SendQueue) -> None:
        """Forget what a stream that was reset still had to send."""
        queue.chunks.clear()
        queue.bytes = 0
        queue.end = False
        # It stays in the ring until its turn comes: taking it out would be a search.

    def take(self, writable: list[int]) -> tuple[bytes, int]:
        """Return the frames of one message and how many of them are numbered.

        Streams that have room again are appended to `writable`. Empty bytes mean that nothing
        can leave now.
        """
        if self.ready_bytes > self._flush_bytes:
            return self._take_part()
        frames, size, numbered = self._ready, self.ready_bytes, self._numbered
        self._ready, self.ready_bytes, self._numbered = [], 0, 0
        if self._ring:
            numbered += self._fill(frames, size, writable)
        return (frames[0] if len(frames) == 1 else b"".join(frames)), numbered

    def _take_part(self) -> tuple[bytes, int]:
        """Take what fits: no credit bounds heads, and a message has to stay below its limit."""
        size = count = numbered = 0
        for frame in self._ready:
            size += len(frame)
            count += 1
            numbered += frame[0] not in UNNUMBERED
            if size >= self._flush_bytes:
                break
        part = b"".join(self._ready[:count])
        del self._ready[:count]
        self.ready_bytes -= size
        self._numbered -= numbered
        return part, numbered

    def _fill(self, frames: list[bytes], size: int, writable: list[int]) -> int:
        """Add body frames in rotation up to the flush size; return how many."""
        ring, added, blocked = self._ring, 0, 0
        while ring and size < self._flush_bytes and blocked < len(ring):
            queue = ring.popleft()
            frame = self._next_frame(queue)
            if frame is not None:
                frames.append(frame)
                size += len(frame)
                added += 1
                blocked = 0
                if not queue.bytes and not queue.end:
                    self.finished.append(queue.stream)
                if queue.paused and queue.bytes <= RESUME_BYTES:
                    queue.paused = False
                    writable.append(queue.stream)
            if (queue.bytes and queue.window.available) or (queue.end and not queue.bytes):
                ring.append(queue)
                blocked += frame is None
            else:
                # Without credit of its own a stream waits outside, so that thousands of stalled
                # readers cost a flush nothing.
                queue.queued = False
        return added

    def _next_frame(self, queue: SendQueue) -> bytes | None:
        room = min(queue.bytes, queue.window.available, self.link.available, MAX_PAYLOAD_BYTES)
        if room <= 0 and (queue.bytes or not queue.end):
            return None
        payload = _take_bytes(queue, room)
        queue.window.available -= room
        self.link.available -= room
        flags = 0
        if queue.end and not queue.bytes:
            queue.end, flags = False, FLAG_END
        return encode_frame(FrameType.DATA, queue.stream, payload, flags)


def _take_bytes(queue: SendQueue, count: int) -> bytes:
    parts, left = [], count
    while left:
        chunk = queue.chunks[0]
        if len(chunk) <= left:
            parts.append(chunk)
            queue.chunks.popleft()
            left -= len(chunk)
        else:
            parts.append(chunk[:left])
            queue.chunks[0] = chunk[left:]
            left = 0
    queue.bytes -= count
    return b"".join(parts)
