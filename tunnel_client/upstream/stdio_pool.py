"""All children of one stdio upstream: how many there may be, and when one may be started again."""

from collections.abc import Callable, Iterable

import anyio
import structlog

from shared.audit import events
from shared.backoff import Backoff
from shared.errors import TunnelError
from tunnel_client.errors import ClientError
from tunnel_client.upstream.stdio_command import StdioCommand, StdioLimits
from tunnel_client.upstream.stdio_process import Child, Starter

_NO_EXIT = 5.0
_KILLED = 1.0
"""For the kernel to end what was killed, and for us to look for what it left behind."""


class RefusedError(TunnelError):
    """No child can be had now; nothing was sent to one.

    `retry_after` in seconds. The message is for operators.
    """

    def __init__(self, reason: str, retry_after: float) -> None:
        super().__init__(reason)
        self.retry_after = retry_after


class CrashGuard:
    """Counts crashes in a row and says when the next start is due; pure, `now` in seconds.

    The first crash costs no wait. After `quarantine_after` in a row nothing starts for long.
    """

    def __init__(self, limits: StdioLimits) -> None:
        self._limits = limits
        self._backoff = Backoff()
        self._not_before = 0.0
        self.failures = 0

    def crashed(self, lived: float, now: float) -> bool:
        """Note a crash after `lived` seconds; True when this one leads to quarantine."""
        self.failures = 1 if lived >= self._limits.stable_after else self.failures + 1
        if self.failures >= self._limits.quarantine_after:
            self._not_before = now + self._limits.quarantine
            return True
        wait = self._backoff.ceiling(self.failures - 1) if self.failures > 1 else 0.0
        self._not_before = now + wait
        return False

    def works(self) -> None:
        """Note that a child answered."""
        self.failures = 0

    def wait(self, now: float) -> float:
        """Return the seconds until a start is due, 0 when it is."""
        return max(0.0, self._not_before - now)


class ChildPool:
    """Starts children and ends every one of them."""

    def __init__(
        self,
        command: StdioCommand,
        limits: StdioLimits,
        log: structlog.typing.FilteringBoundLogger,
        now: Callable[[], float],
        starter: Starter | None = None,
    ) -> None:
        self._command = command
        self._starter = starter
        self._refusal = ""
        self._limits = limits
        self._log = log
        self._now = now
        self._children: dict[Child, str] = {}
        self.guard = CrashGuard(limits)
        self.last_words = ""
        """Of the last program that ended by itself."""

    def __len__(self) -> int:
        return len(self._children)

    def start(
        self, on_line: Callable[[bytes], None], on_end: Callable[[str], None], session: str = ""
    ) -> Child:
        """Start one more child; raises RefusedError when there are too many or it keeps failing.

        `session` is the relay's that it is for alone; left out where all share it.
        """
        if len(self._children) >= self._limits.children:
            raise RefusedError("as many processes run as are allowed", 30.0)
        own = list(self._children.values()).count(session) if session else 0
        if own >= self._limits.children_per_session:
            raise RefusedError("as many processes run as one session may have", 30.0)
        wait = self.guard.wait(self._now())
        if wait > 0:
            raise RefusedError("the program keeps ending by itself", wait)
        child = Child(
            self._command,
            self._limits,
            self._log,
            on_line,
            on_end,
            lambda: self._gone(child),
            self._starter,
        )
        try:
            child.start()
        except ClientError as error:
            self._refuse(error)
            raise RefusedError("its operator has not allowed it to start as it is", 30.0) from None
        except OSError as error:
            self.crashed(0.0)
            self._log.error("child not started", error=error.strerror or type(error).__name__)
            raise RefusedError("the program cannot be started", 5.0) from None
        self._refusal = ""
        self._children[child] = session
        return child

    def _gone(self, child: Child) -> None:
        self._children.pop(child, None)
        self.last_words = child.last_words or self.last_words

    def _refuse(self, error: ClientError) -> None:
        # Agents may ask again and again; the operator needs to be told once.
        if error.cause != self._refusal:
            self._refusal = error.cause
            upstream = structlog.get_context(self._log).get("upstream", "")
            events.note("child.refused", upstream=upstream, code=error.code, why=error.cause)
            self._log.error(
                "child not started", code=error.code, reason=error.cause, next=error.next
            )

    def crashed(self, lived: float) -> None:
        """Note that a child ended by itself after `lived` seconds."""
        if self.guard.crashed(lived, self._now()):
            self._log.error(
                "upstream quarantined: its program keeps ending by itself",
                crashes=self.guard.failures,
                seconds=self._limits.quarantine,
            )

    async def aclose(self) -> None:
        """End all children and wait until each is reaped; cancelled, it has killed them."""
        children = list(self._children)
        for child in children:
            child.stop()
        try:
            with anyio.move_on_after(2 * self._limits.grace + _NO_EXIT) as scope:
                await _until_gone(children)
        except anyio.get_cancelled_exc_class():
            for child in children:
                child.kill()
            with anyio.move_on_after(_KILLED, shield=True):
                await _until_gone(children)
            raise
        if scope.cancelled_caught:
            pids = [child.pid for child in self._children]
            self._log.error("children did not end after SIGKILL", pids=pids)


async def _until_gone(children: Iterable[Child]) -> None:
    for child in children:
        await child.wait_gone()
