"""What OCSF and ECS ask of an event, as their schemas say, of every kind of record."""

import json
from typing import Any

import pytest

from shared.record import encode
from shared.record.export.formats import Formatter
from shared.record.export.joined import Origin
from tests.helpers.log_lines import chained, completion, intent

ORIGIN = Origin("tunnel-client", "mcp-tunnel/client/office/1", "1.0", "host.example")
REFUSED = (
    b'{"call":"x","kind":"call.refused","reason":"no","seq":2,"time":1795000000000002,"v":1,'
    b'"what":{"class":"write","name":"drop"},"why":{"decision":"deny","rule":"r"}}'
)
LINES = chained(
    [
        intent(0, 1, trace=b'"trace":"%b",' % (b"a" * 32 + b"-" + b"b" * 16)),
        completion(1, 1, 0),
        REFUSED,
        b'{"kind":"audit.gap","lost":1,"seq":3,"time":1795000000000003,"v":1}',
        completion(4, 2, 99, b"tool_error"),
    ]
)


def events(name: Any) -> list[dict[str, Any]]:
    formatter = Formatter(name, ORIGIN)
    return [json.loads(formatter.line(seq, line)) for seq, line in enumerate(LINES)]


@pytest.mark.parametrize("at", range(len(LINES)))
def test_an_event_has_what_the_class_requires_and_no_value_it_does_not_know(at: int) -> None:
    """OCSF 1.8.0, API Activity: required attributes, their types, and their enumerations."""
    found = events("ocsf")[at]
    assert found["class_uid"] == 6003
    assert found["category_uid"] == 6
    assert found["activity_id"] in (1, 2, 3, 4, 99)
    assert found["type_uid"] == 600300 + found["activity_id"]
    assert found["severity_id"] in range(1, 7)
    assert found["status_id"] in (0, 1, 2)
    assert isinstance(found["time"], int)
    assert len(str(found["time"])) == 13
    assert found["metadata"]["version"] == "1.8.0"
    assert found["metadata"]["product"]["name"] == "tunnel-client"
    assert found["metadata"]["uid"] == f"{ORIGIN.log}#{at}"
    assert found["api"]["operation"]
    assert {"user", "session", "app_name"} & set(found["actor"])
    assert {"ip", "name"} & set(found["src_endpoint"])
    for resource in found.get("resources", []):
        assert resource["name"]
    if "trace" in found:
        assert found["metadata"]["profiles"] == ["trace"]


def test_a_completion_says_what_its_intent_said() -> None:
    began, ended, refused, gap, alone = events("ocsf")
    assert ended["api"]["operation"] == began["api"]["operation"] == "look_up"
    assert ended["actor"]["user"] == {"name": "ada"}
    assert ended["actor"]["session"] == {"uid": "5" * 32}
    assert (began["status"], ended["status"]) == ("Unknown", "Success")
    assert ended["trace"] == {"uid": "a" * 32}
    assert (ended["activity_name"], refused["activity_name"]) == ("Read", "Update")
    assert (refused["status"], refused["severity"]) == ("Failure", "Medium")
    assert refused["unmapped"]["decision"] == "deny"
    assert (gap["severity"], gap["activity_id"]) == ("High", 99)
    assert gap["unmapped"]["facts"] == {"lost": 1}
    # Its intent is not known any more: it says what it knows.
    assert (alone["status"], alone["api"]["operation"]) == ("Failure", "call.completion")


def test_a_document_has_the_fields_that_elasticsearch_searches() -> None:
    """ECS 8.17: values of `event.category`, `type` and `outcome` are of its lists."""
    began, ended, refused, gap, _ = events("ecs")
    for at, found in enumerate((began, ended, refused, gap)):
        event = found["event"]
        assert found["@timestamp"] == f"2026-11-18T11:06:40.{at:06d}Z"
        assert set(event["category"]) <= {"api", "configuration"}
        assert set(event["type"]) <= {"access", "allowed", "denied", "info"}
        assert event["outcome"] in ("success", "failure", "unknown")
        assert (event["id"], event["sequence"]) == (f"{ORIGIN.log}#{at}", at)
        assert event["hash"] == LINES[at][9:73].decode()
    assert ended["user"] == {"name": "ada"}
    assert ended["service"] == {"name": "crm"}
    assert ended["labels"]["tool"] == "look_up"
    assert ended["event"]["duration"] == 888_000
    assert refused["event"]["type"] == ["access", "denied"]


@pytest.mark.parametrize("name", ["ocsf", "ecs"])
def test_a_number_that_json_has_no_word_for_is_null(name: Any) -> None:
    """A01: a strict reader takes no `Infinity`, and would take nothing behind it either."""
    record = encode.event(
        "call.refused", {"arguments": {"n": 1, "m": {}}, "deep": {"x": [1, "y"]}}, 0, 5
    )
    record = record.replace(b'"n":1', b'"n":1e400').replace(b"[1,", b"[-1e400,")
    formatter = Formatter(name, ORIGIN)
    line = formatter.line(0, chained([record])[0])

    def refused(word: str) -> None:
        raise AssertionError(word)

    found = json.loads(line, parse_constant=refused)
    told = found["unmapped" if name == "ocsf" else "mcp_tunnel"]
    assert told["arguments"]["n"] is None
    assert told["facts"]["deep"] == {"x": [None, "y"]}
