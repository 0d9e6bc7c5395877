"""The MCP session of a legacy agent at its server: id, version, and the headers that carry them."""

import re

_VISIBLE = re.compile(r"[\x21-\x7e]{1,1024}")
_VERSION = re.compile(r"[0-9A-Za-z.-]{1,64}")


class McpSession:
    """Empty until `initialize` is answered; a new `initialize` starts over."""

    def __init__(self) -> None:
        self.id: str | None = None
        self.version: str | None = None

    def begin(self, session_id: str | None) -> None:
        """Take the id of a response to `initialize`; what is no id counts as none."""
        known = session_id is not None and _VISIBLE.fullmatch(session_id)
        self.id = session_id if known else None
        self.version = None

    def agreed(self, result: object) -> None:
        """Take the version from the result of `initialize`; total."""
        version = result.get("protocolVersion") if isinstance(result, dict) else None
        if isinstance(version, str) and _VERSION.fullmatch(version):
            self.version = version

    @property
    def header(self) -> dict[str, str]:
        """The header that names the MCP session, if there is one."""
        return {} if self.id is None else {"Mcp-Session-Id": self.id}

    def get_headers(self, last_event: str | None) -> dict[str, str]:
        """Return the head of a GET, resuming after `last_event`."""
        headers = {"Accept": "text/event-stream"} | self.header
        if self.version is not None:
            headers["MCP-Protocol-Version"] = self.version
        if last_event is not None and last_event.isprintable() and last_event.isascii():
            headers["Last-Event-ID"] = last_event
        return headers
