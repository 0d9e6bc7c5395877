"""What the pinned definitions of tools say of their arguments, each read once. Pure."""

from collections.abc import Collection, Mapping
from typing import Any

from shared.jsonrpc.canonical import exact
from shared.jsonrpc.envelope import Envelope
from shared.jsonrpc.header_values import Headers
from shared.jsonrpc.param_headers import PARAM_PREFIX, Mirrored, check_mirrored, mirrored
from shared.policy.arguments import undeclared
from tunnel_client.catalog.pins import Pin

MAX_REMEMBERED = 4096


class Schemas:
    """Answers from the digest of a pin; a tool that nobody pinned declares nothing."""

    def __init__(self) -> None:
        self._schemas: dict[str, tuple[dict[str, Any], tuple[Mirrored, ...]]] = {}

    def undeclared(self, pin: Pin, args: Mapping[str, Any] | None) -> bool:
        """Tell whether a tool that changes something gets more than its definition says (P07)."""
        if pin.tool_class is None or not pin.tool_class.changes or not args:
            return False
        return bool(undeclared(self._read(pin)[0], args))

    def declared(self, pin: Pin) -> Collection[str]:
        """Return the names of the arguments that a tool's pinned definition declares."""
        properties = self._read(pin)[0].get("properties") if pin.definition else None
        return properties.keys() if isinstance(properties, dict) else ()

    def check_headers(self, pin: Pin, envelope: Envelope, headers: Headers) -> None:
        """Check `Mcp-Param-*` of a call against its arguments; raises EnvelopeError (-32020).

        An agent of the legacy era sends none; where one is sent all the same, all have to fit.
        """
        wanted = self._read(pin)[1] if pin.definition else ()
        if wanted and (
            envelope.is_modern or any(name.startswith(PARAM_PREFIX) for name, _ in headers)
        ):
            check_mirrored(wanted, envelope, headers)

    def _read(self, pin: Pin) -> tuple[dict[str, Any], tuple[Mirrored, ...]]:
        found = self._schemas.get(pin.sha256)
        if found is None:
            definition = exact(pin.definition.encode())
            schema = definition.get("inputSchema") if isinstance(definition, dict) else None
            if not isinstance(schema, dict):
                schema = {}
            if len(self._schemas) >= MAX_REMEMBERED:
                self._schemas.clear()
            found = self._schemas[pin.sha256] = schema, mirrored(schema)
        return found
