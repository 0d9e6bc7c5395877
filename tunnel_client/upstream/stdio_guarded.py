"""A stdio upstream of the configuration: started only as agreed to, in its sandbox."""

from typing import Any

from tunnel_client.consent.guard import Guard
from tunnel_client.sandbox.egress import Egress
from tunnel_client.upstream.stdio import StdioUpstream
from tunnel_client.upstream.stdio_command import StdioLimits


class ConsentedUpstream(StdioUpstream):
    """A StdioUpstream whose guard is asked before each start, and which can say what it says."""

    def __init__(self, name: str, guard: Guard, limits: StdioLimits) -> None:
        super().__init__(name, guard.command, limits, guard)
        self._guard = guard
        self._egress: Egress | None = None

    async def start(self) -> None:
        """Get ready, and tell the operator now what an agent would only run into later."""
        await super().start()
        if self._guard.hosts:
            self._egress = Egress(self.name, self._guard.hosts)
            self._guard.egress = await self._egress.start()
        refusal = self._guard.refusal()
        if refusal is not None:
            self._log.error(
                "upstream refused", code=refusal.code, reason=refusal.cause, next=refusal.next
            )
        elif not self._guard.reached.caged:
            self._log.warning("upstream without a sandbox", sandbox=str(self._guard.reached))

    async def aclose(self) -> None:
        """End every process, then remove what they had for themselves."""
        try:
            await super().aclose()
        finally:
            try:
                if self._egress is not None:
                    await self._egress.aclose()
            finally:
                self._guard.close()

    def standing(self) -> dict[str, Any]:
        """Return for `status` whether children may start, how they are kept, and how many live."""
        refusal = self._guard.refusal()
        return {
            "name": self.name,
            "sandbox": str(self._guard.reached),
            "unpinned": self._guard.allows_unpinned,
            "children": self.children,
            "refused": None if refusal is None else f"{refusal.code}: {refusal.cause}",
        }
