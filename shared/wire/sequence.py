"""Numbers of frames, and the messages a peer may still need when its connection is cut.

Each side keeps what it sent until the other acknowledged it. On the next connection of the same
link it is sent again, as far as the other did not take it: nothing is lost, repeated or reordered.
"""

from collections import deque

from shared.errors import PeerError
from shared.wire.frames import (
    UNNUMBERED,
    decode_frames,
    encode_frame,
    encode_message,
)
from shared.wire.limits import MIB

ACK_EVERY = 512
"""Numbered frames we take before we acknowledge them without having anything to say."""
MAX_KEPT_BYTES = 32 * MIB
"""What is kept for a peer that acknowledges nothing: twice a link's window. Beyond it the link
goes on, and is over when its connection is cut."""


class Sequence:
    """The numbers of one link end; `keeps`: may the link be resumed on another connection?"""

    __slots__ = ("_acked", "_kept", "_kept_bytes", "_sent", "_told", "taken")

    def __init__(self, *, keeps: bool = False) -> None:
        self._sent = 0
        self._acked = 0
        self._told = 0
        self.taken = 0
        """Numbered frames that came in and were handled."""
        # Messages with the number of the first frame that is not in them any more.
        self._kept: deque[tuple[int, int, bytes]] | None = deque() if keeps else None
        self._kept_bytes = 0

    @property
    def resumable(self) -> bool:
        """Everything is there that the peer could still ask for."""
        return self._kept is not None

    def wrap(self, frames: bytes, numbered: int) -> bytes:
        """Return the message around frames, empty when there is nothing to say."""
        if not frames and self.taken - self._told < ACK_EVERY:
            return b""
        message = encode_message(self._sent, self.taken, frames)
        self._told = self.taken
        if numbered:
            first = self._sent
            self._sent += numbered
            if self._kept is not None:
                self._kept.append((first, self._sent, message))
                self._kept_bytes += len(message)
                if self._kept_bytes > MAX_KEPT_BYTES:
                    self.forget()
        return message

    def forget(self) -> None:
        """Keep nothing from now on."""
        self._kept, self._kept_bytes = None, 0

    def check(self, sequence: int, ack: int) -> None:
        """Judge the header of a message; raises PeerError when it breaks the order."""
        if sequence != self.taken:
            raise PeerError(f"message starts at frame {sequence} where {self.taken} was due")
        self._acknowledge(ack)

    def _acknowledge(self, ack: int) -> None:
        if not self._acked <= ack <= self._sent:
            raise PeerError("acknowledgement of frames that were never sent")
        self._acked = ack
        kept = self._kept
        while kept and kept[0][1] <= ack:
            self._kept_bytes -= len(kept.popleft()[2])

    def again(self, taken: int) -> list[bytes]:
        """Return the messages that a peer which took `taken` frames still needs.

        A message is taken as a whole or not at all. PING and PONG of the connection before are
        left out. Raises PeerError.
        """
        if self._kept is None:
            raise PeerError("what the peer needs is not kept")
        ends = {self._acked, self._sent, *(last for _, last, _ in self._kept)}
        if taken not in ends:
            raise PeerError("a message was taken in part, or never sent")
        self._acknowledge(taken)
        self._told = self.taken
        return [
            encode_message(first, self.taken, _numbered(message))
            for first, _, message in self._kept
        ]


def _numbered(message: bytes) -> bytes:
    return b"".join(
        encode_frame(kind, stream, payload, flags)
        for kind, flags, stream, payload in decode_frames(message)
        if kind not in UNNUMBERED
    )
