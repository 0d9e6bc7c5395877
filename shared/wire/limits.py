"""Every number both ends must agree on, in one place; the READY frame carries those that vary."""

from dataclasses import dataclass

KIB = 1024
MIB = 1024 * KIB

MESSAGE_HEADER_BYTES = 16
FRAME_HEADER_BYTES = 8
MAX_FRAME_BYTES = 64 * KIB
"""One frame never holds up the rest for longer than it takes to send this."""
MAX_MESSAGE_BYTES = MIB
"""What a WebSocket takes at all; READY may settle for less."""
MAX_PAYLOAD_BYTES = MAX_FRAME_BYTES - FRAME_HEADER_BYTES
MAX_HEAD_BYTES = 40 * KIB
"""A head block: 32 KiB of headers and what names the upstream and the session."""
MAX_HEAD_FIELDS = 100
MAX_INLINE_BYTES = 16 * KIB
"""A whole body up to this many bytes rides with its head, outside credit as the head is."""
MAX_BODY_BYTES = 4 * MIB
"""A request body; both ends read it whole before they judge it."""
MAX_HANDSHAKE_BYTES = 4 * KIB
MAX_DETAIL_BYTES = KIB
"""Text in RESET and DRAIN: for people, and what a client says with NEEDS_APPROVAL."""
MAX_PERMIT_BYTES = 7 * KIB
"""What humans signed for one call; it travels in the head."""
MAX_GRANT_BYTES = 16 * KIB
"""A grant and its signature."""
MAX_TOOLS = 5000
"""Tools of one upstream."""
MAX_TOOLS_BYTES = 8 * MIB
"""What a client may say of the tools of one link, all upstreams together."""
MAX_STREAM_ID = 2**32 - 1
MAX_STREAMS = 20_000
"""Open streams in one link."""
MAX_PINGS_PER_INTERVAL = 10
"""PINGs answered within one ping interval; more close the link."""
MAX_CATALOG_UPSTREAMS = 256
MAX_LINKS = 8
"""Links that one process of a client may keep; each has a slot of its own."""


@dataclass(frozen=True, slots=True)
class LinkLimits:
    """What the relay settles for one link in READY. Bytes and seconds."""

    message_bytes: int = MIB
    """Largest WebSocket message; must hold one whole frame."""
    flush_bytes: int = 128 * KIB
    """A batch is flushed early at this size, so that one turn never builds a huge message."""
    stream_window: int = 256 * KIB
    """Credit a stream starts with."""
    stream_window_max: int = 4 * MIB
    """What a stream's credit may grow to with the round-trip time."""
    link_window: int = 16 * MIB
    max_streams: int = MAX_STREAMS
    ping_interval: float = 15.0
    ping_deadline: float = 10.0
    resume_seconds: float = 30.0
    """How long a link waits for its client after its connection was cut; 0: not at all."""

    @property
    def silence(self) -> float:
        """For how many seconds a link that lives may carry nothing to one of its ends."""
        return self.ping_interval + self.ping_deadline
