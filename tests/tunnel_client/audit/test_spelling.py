"""How the client spells calls: what of a request stands in its intent."""

import json
from pathlib import Path
from typing import Any

from shared.policy.classes import ToolClass
from shared.record.redact import MAX_BODY, Redactor
from tests.shared.policy.texts import policy
from tests.tunnel_client.test_judge import ALL, a_call, a_grant, pinned
from tunnel_client.audit.spelling import Spelling
from tunnel_client.catalog.catalog import Catalog
from tunnel_client.catalog.pins import Pins
from tunnel_client.judge import Judge, Passed

NAMES = [f"n{number}" for number in range(5000)]
WIDE: dict[str, Any] = {
    "name": "wide",
    "inputSchema": {"type": "object", "properties": {name: {} for name in NAMES}},
}


async def test_a_tool_that_declares_many_arguments_makes_no_large_record(tmp_path: Path) -> None:
    """A12: each costs a few bytes in a request, and the length of a tag in its record."""
    pinned(tmp_path, {"wide": ToolClass.READ}, WIDE)
    pins, rules = Pins(tmp_path), policy(ALL)
    spelling = Spelling(Redactor(b"k" * 32), Judge(lambda: rules, Catalog(pins, ["ab"])))
    (pin,) = pins.table.values()
    for count, whole in ((100, True), (len(NAMES), False)):
        request = a_call("wide", **dict.fromkeys(NAMES[:count], 1))
        assert len(request.body) < MAX_BODY
        known = spelling.known(a_grant(), request, Passed(pin=pin))
        spelled = spelling.intent(b"0.1", 0, 0, known, request, "")
        arguments = json.loads(spelled)["arguments"]
        if whole:
            assert list(arguments) == sorted(NAMES[:count])
        else:
            assert arguments == {"*": {"bytes": len(request.body)}}
            assert len(spelled) < 2000
