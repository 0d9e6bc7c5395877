"""What an upstream lists with its own credential in it (row C13)."""

from typing import Any

import pytest
import structlog

from shared.audit import events
from tests.tunnel_client.catalog.test_catalog import ADD, DROP, Pinner, catalog, item, listing
from tests.tunnel_client.catalog.test_catalog import pin as pin
from tunnel_client.catalog.catalog import State
from tunnel_client.catalog.definitions import Kind, instructions_item
from tunnel_client.catalog.leaking import ALARMS, Leaking
from tunnel_client.catalog.scan import hides, scan
from tunnel_client.catalog.scan_text import Code
from tunnel_client.credentials.scrub import MASK

SHOWN = f"use {MASK.decode()}"
LEAKS: dict[str, Any] = {"name": "add", "inputSchema": {"properties": {"a": {"default": SHOWN}}}}


def test_a_tool_that_shows_it_is_blocked_whatever_was_pinned(tmp_path: Any, pin: Pinner) -> None:
    pin(LEAKS, DROP)
    made = catalog(tmp_path)
    assert made.callable("desk", "add") is None
    assert made.filter_tools("desk", [LEAKS, DROP]) == [DROP]
    found = made.state("desk", "add")
    assert found is not None
    assert found.state is State.CREDENTIAL
    assert Code.CREDENTIAL in {flag.code for flag in found.flags}
    assert made.status("desk")["credential_tools"] == ["add"]


def test_without_pinning_it_is_blocked_for_as_long_as_it_shows_it(tmp_path: Any) -> None:
    made = catalog(tmp_path, "desk")
    assert made.filter_tools("desk", [LEAKS, DROP]) == [DROP]
    assert made.callable("desk", "add") is None
    assert made.callable("desk", "drop") is not None
    made.learn("desk", listing(LEAKS))
    assert made.callable("desk", "add") is None
    made.learn("desk", listing(ADD))
    assert made.callable("desk", "add") is not None
    assert made.filter_tools("desk", [ADD]) == [ADD]


@pytest.mark.parametrize("unpinned", [(), ("desk",)])
def test_prompts_resources_and_instructions_are_held_back(
    tmp_path: Any, pin: Pinner, unpinned: tuple[str, ...]
) -> None:
    prompt = {"name": "p", "description": SHOWN}
    page = {"uri": "x:1", "description": SHOWN}
    pin(prompt, kind=Kind.PROMPT)
    made = catalog(tmp_path, *unpinned)
    assert made.filter_others("desk", Kind.PROMPT, [prompt, {"name": "q"}]) == [{"name": "q"}]
    assert made.filter_others("desk", Kind.RESOURCE, [page]) == []
    made.learn("desk", listing(page, kind=Kind.RESOURCE))
    assert not made.readable("desk", Kind.RESOURCE, "x:1")
    assert made.readable("desk", Kind.RESOURCE, "x:2")
    assert not made.instructions_pass("desk", SHOWN)
    assert made.instructions_pass("desk", "Be kind.")
    assert made.status("desk")["held_back"] == 1


def test_the_scanner_calls_it_hiding() -> None:
    made = instructions_item(SHOWN)
    assert made is not None
    assert hides(scan(made))
    assert not scan(item(ADD))


def test_the_alarm_is_written_down_once_and_bounded() -> None:
    noted: list[tuple[str, Any]] = []
    made = Leaking("desk")
    with structlog.testing.capture_logs() as lines, events.heard(lambda *fact: noted.append(fact)):
        for _ in range(3):
            made.note(item(LEAKS))
        assert len(noted) == 1
        for at in range(100):
            made.note(item(LEAKS | {"name": f"a{at}"}))
    assert noted[0] == (
        "credential.listed",
        {"upstream": "desk", "item": "tools", "name": "add"},
    )
    assert len(noted) == len(lines) == ALARMS
    assert all("ALARM" in line["event"] for line in lines)
    assert (Kind.TOOL, "a7") in made
    made.note(item(ADD))
    assert (Kind.TOOL, "add") not in made
    made.keep([])
    assert (Kind.TOOL, "a7") not in made
