"""What is kept of MCP tasks: which session began which."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Task:
    """A task of an upstream; `digest` is `tunnel_relay.tasks.task_digest` of its id."""

    digest: bytes
    session: str
    created: float


class TaskStore(Protocol):
    """The part of the store that keeps them."""

    async def keep_tasks(self, tasks: Sequence[Task], gone: Sequence[bytes]) -> None:
        """Keep tasks, in place of those with the same digest, and forget others by digest.

        Tasks of sessions that are not kept are left out. They go with their session.
        """

    async def tasks(self) -> list[Task]:
        """Return every task, oldest first."""
