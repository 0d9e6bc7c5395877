"""What a pinned definition says of arguments, and of the headers that mirror them."""

import json
from typing import Any

import pytest

from shared.jsonrpc.envelope import HEADER_MISMATCH, Envelope, EnvelopeError, parse
from shared.policy.classes import ToolClass
from tests.helpers.agent import call
from tests.tunnel_client.catalog.test_catalog import item
from tunnel_client.catalog.pins import Pin
from tunnel_client.catalog.schemas import Schemas

TOOL: dict[str, Any] = {
    "name": "t",
    "inputSchema": {
        "type": "object",
        "properties": {"n": {"type": "integer"}, "r": {"type": "string", "x-mcp-header": "R"}},
    },
}
REGION = b"mcp-param-r"


def pin(tool_class: ToolClass | None = None, tool: dict[str, Any] = TOOL) -> Pin:
    made = item(tool)
    return Pin(made.name, made.sha256, tool_class, made.definition, 1, "kim")


def a_call(modern: bool = True, **arguments: Any) -> Envelope:
    return parse(json.dumps(call("t", modern=modern, **arguments)).encode())


@pytest.mark.parametrize(
    ("tool_class", "args", "extra"),
    [
        (ToolClass.WRITE, {"n": 1, "bcc": "x"}, True),
        (ToolClass.WRITE, {"n": 1, "r": "eu"}, False),
        (ToolClass.WRITE, None, False),
        (ToolClass.READ, {"bcc": "x"}, False),
        (None, {"bcc": "x"}, False),
    ],
)
def test_only_what_changes_something_is_held_to_its_arguments(
    tool_class: ToolClass | None, args: dict[str, Any] | None, extra: bool
) -> None:
    assert Schemas().undeclared(pin(tool_class), args) is extra


def test_names_are_those_of_the_definition() -> None:
    schemas = Schemas()
    assert set(schemas.declared(pin())) == {"n", "r"}
    assert set(schemas.declared(pin(tool={"name": "t", "inputSchema": []}))) == set()
    assert set(schemas.declared(Pin("t", "", None, "", 0, ""))) == set()


@pytest.mark.parametrize("headers", [[], [(REGION, b"us")], [(REGION, b"eu"), (REGION, b"eu")]])
def test_a_header_that_does_not_mirror_its_argument_is_a_mismatch(
    headers: list[tuple[bytes, bytes]],
) -> None:
    with pytest.raises(EnvelopeError) as caught:
        Schemas().check_headers(pin(), a_call(r="eu"), headers)
    assert (caught.value.code, caught.value.status) == (HEADER_MISMATCH, 400)


def test_what_fits_or_cannot_be_known_passes() -> None:
    schemas = Schemas()
    schemas.check_headers(pin(), a_call(r="eu"), [(REGION, b"eu"), (b"mcp-param-x", b"1")])
    schemas.check_headers(pin(), a_call(modern=False, r="eu"), [(b"accept", b"*/*")])
    schemas.check_headers(Pin("t", "", None, "", 0, ""), a_call(r="eu"), [(REGION, b"us")])


def test_a_call_of_the_legacy_era_is_no_way_around() -> None:
    with pytest.raises(EnvelopeError):
        Schemas().check_headers(pin(), a_call(modern=False, r="eu"), [(REGION, b"us")])
