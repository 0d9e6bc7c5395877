"""Logging of the relay: one line an event on standard error."""

import logging
import sys
from typing import TextIO, cast

import structlog

from tunnel_relay.events import EventRing, Keep


class Unfailing:
    """A text stream that loses what cannot be written.

    Where standard error is a file, its disk may be full. That must not stop a revocation.
    """

    def __init__(self, target: TextIO) -> None:
        self._target = target
        self.lost = 0

    def write(self, text: str) -> int:
        """Write, or count what was lost."""
        try:
            return self._target.write(text)
        except (OSError, ValueError):
            self.lost += 1
            return len(text)

    def flush(self) -> None:
        """Flush, or count what was lost."""
        try:
            self._target.flush()
        except (OSError, ValueError):
            self.lost += 1


class NamedLogger(structlog.PrintLogger):
    """Prints lines to stderr, and knows who logs."""

    def __init__(self, name: str = "") -> None:
        super().__init__(cast(TextIO, Unfailing(sys.stderr)))
        self.name = name


def configure_logging(events: EventRing) -> None:
    """Log one line an event to stderr and into `events`; libraries below WARNING are silent."""
    stream = cast(TextIO, Unfailing(sys.stderr))
    logging.basicConfig(stream=stream, level=logging.WARNING, format="%(name)s %(message)s")
    # It repeats as errors what the gateway does on purpose: an unfinished body is a cut one.
    logging.getLogger("uvicorn.error").setLevel(logging.CRITICAL)
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            Keep(events),
            structlog.processors.format_exc_info,
            structlog.processors.LogfmtRenderer(
                key_order=["timestamp", "level", "event"], bool_as_flag=False
            ),
        ],
        logger_factory=NamedLogger,
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        cache_logger_on_first_use=True,
    )
