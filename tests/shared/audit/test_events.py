"""Who notes something does not know who hears it."""

from collections.abc import Mapping
from typing import Any

from shared.audit.events import heard, note


def test_what_is_noted_is_heard_in_the_block_and_nowhere_else() -> None:
    outer: list[tuple[str, Mapping[str, Any]]] = []
    inner: list[tuple[str, Mapping[str, Any]]] = []
    note("link.up", epoch=0)
    with heard(lambda kind, facts: outer.append((kind, facts))):
        note("link.up", epoch=1)
        with heard(lambda kind, facts: inner.append((kind, facts))):
            note("link.up", epoch=2)
        note("link.down", code=1006)
    note("link.up", epoch=3)
    assert outer == [("link.up", {"epoch": 1}), ("link.down", {"code": 1006})]
    assert inner == [("link.up", {"epoch": 2})]
