"""Facts for the record, from wherever in the client they are known.

As with a logger, who says something does not know who keeps it: modules call `note`, and whoever
holds the log of this process hears it. Without one, nobody does.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

Sink = Callable[[str, Mapping[str, Any]], None]
"""Takes a kind of record and its facts: JSON values, and no secret among them."""


def _nobody(kind: str, facts: Mapping[str, Any]) -> None:
    pass


_sink: Sink = _nobody


def note(kind: str, **facts: Any) -> None:
    """Say that something happened; on the event loop's thread, and never fails."""
    _sink(kind, facts)


@contextmanager
def heard(sink: Sink) -> Iterator[None]:
    """Have everything that is noted in the block go to `sink`."""
    global _sink
    before, _sink = _sink, sink
    try:
        yield
    finally:
        _sink = before
