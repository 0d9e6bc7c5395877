"""Row P07: arguments nobody declared."""

from shared.policy.arguments import undeclared

SCHEMA = {"type": "object", "properties": {"to": {}, "text": {}}, "additionalProperties": True}


def test_names_outside_the_properties_are_undeclared() -> None:
    assert undeclared(SCHEMA, {"to": "a", "bcc": "b", "To": "c"}) == ["To", "bcc"]
    assert undeclared(SCHEMA, {"to": "a", "text": {"bcc": "b"}}) == []


def test_a_schema_without_properties_declares_nothing() -> None:
    for schema in ({}, {"properties": None}, {"properties": ["to"]}, {"$ref": "#/x"}):
        assert undeclared(schema, {"to": "a"}) == ["to"]
        assert undeclared(schema, {}) == []
