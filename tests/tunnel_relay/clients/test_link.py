"""What a client says of its tools is written down, and a client that never stops fills no log."""

import pytest

from shared.policy.classes import ToolClass
from shared.wire.tools import PinState, ToolWord
from tunnel_relay.clients import link as links
from tunnel_relay.clients.link import Link
from tunnel_relay.clients.registry import Registry


def a_word(digest: str) -> ToolWord:
    return ToolWord("add", ToolClass.READ, digest * 64, PinState.PINNED)


def test_what_a_client_says_again_and_again_makes_few_records(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A11, T32: of what is left out the next record says how much it was."""
    told: list[object] = []
    monkeypatch.setattr(links, "note", lambda *_, **facts: told.append(facts["left_out"]))
    link = Link(Registry(30.0), "t", "0" * 32, 1)
    link.on_tools("ab", [a_word("d")])
    link.on_tools("ab", [a_word("d")])
    assert told == [0]  # nothing new was said
    for number in range(2_000):
        link.on_tools("ab", [a_word("ef"[number % 2])])
    assert 1 < len(told) < 500
    last = link.tool("ab", "add")
    assert last is not None
    assert last.sha256 == "f" * 64
