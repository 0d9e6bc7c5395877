"""What agents claim to be, which nobody believes, and what records say of a tool that is called."""

from shared.audit.claims import claimed
from shared.jsonrpc.envelope import Envelope
from shared.wire.tools import PinState, ToolWord
from tunnel_relay.gateway.checks import Request

MAX_REMEMBERED = 4096


class Claims:
    """What the agent of each session said it is when it began."""

    def __init__(self) -> None:
        self._said: dict[str, str] = {}

    def of(self, session: str, request: Request, envelope: Envelope | None) -> str | None:
        """Return what an agent claims: in this request, when it began, or else its user agent."""
        said = None if envelope is None else claimed(envelope)
        known = self._said.get(session)
        if said is None:
            return request.agent if known is None else known
        if known != said:
            if len(self._said) >= MAX_REMEMBERED:
                self._said.clear()
            self._said[session] = said
        return said


def tool_facts(tool: ToolWord) -> dict[str, str | None]:
    """Return what a record of a call, sent or refused, says of its tool."""
    facts = {"class": None if tool.kind is None else tool.kind.value, "name": tool.name}
    if tool.state is PinState.PINNED:
        facts["definition"] = tool.sha256  # of any other no operator has said that it is one
    return facts
