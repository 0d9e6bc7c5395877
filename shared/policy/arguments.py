"""Which arguments of a call its tool never declared."""

from collections.abc import Mapping
from typing import Any


def undeclared(schema: Mapping[str, Any], args: Mapping[str, Any]) -> list[str]:
    """Return the names in `args` that the tool's input schema does not declare, in order.

    Declared are the names in `properties` of the schema itself; what `patternProperties`,
    `additionalProperties`, `$ref` or a combination would also let through is undeclared, because
    nobody who read the definition saw those names. A schema whose `properties` is missing or
    is no object declares nothing. Nested objects are not looked into.
    """
    properties = schema.get("properties")
    declared = properties if isinstance(properties, Mapping) else {}
    return sorted(name for name in args if name not in declared)
