"""What a request says about MCP tasks and about states handed out before. Pure.

Legacy tasks (2025-11-25): `params.task` asks for one, the result has it in `task`. Modern ones
(extension `io.modelcontextprotocol/tasks`): the agent declares the extension with its request, and
the result may be a task. `requestState` (2026-07-28): a result that asks for input may hand one
out, and the agent's next attempt carries it.
"""

from typing import Any, NamedTuple

from shared.jsonrpc.envelope import CAPABILITIES_KEY, META_PREFIX, Envelope, Kind

TASKS_EXTENSION = META_PREFIX + "tasks"
RELATED_TASK = META_PREFIX + "related-task"

STATEFUL = frozenset({"tools/call", "prompts/get", "resources/read"})
"""Methods whose results may ask for input."""
_ON_TASK = frozenset({"tasks/get", "tasks/update", "tasks/cancel", "tasks/result"})


class Claim(NamedTuple):
    """What has to be judged of a request, or watched for in its answer.

    `tasks`: ids it acts on, None for what is no id. `begins`: may its result be a task? `lists`:
    are there tasks in its result? `asks`: may its result ask for input? `state`: what it carries of
    an earlier one, None for nothing.
    """

    method: str
    name: str | None
    tasks: tuple[str | None, ...] = ()
    begins: bool = False
    lists: bool = False
    asks: bool = False
    state: Any = None


RESUMED = Claim("", None, begins=True, lists=True)
"""The claim of a legacy GET stream: it may bring again what any request was answered."""


def read_claim(envelope: Envelope, modern: bool) -> Claim | None:
    """Return what a message claims; None for most."""
    if envelope.kind is not Kind.REQUEST:
        return None
    method, params = envelope.method or "", envelope.params or {}
    asks = modern and method in STATEFUL
    state = params.get("requestState")
    meta = params.get("_meta")
    related = _related(meta)
    if method in _ON_TASK:
        return Claim(method, envelope.name, (envelope.name, *related), state=state)
    begins = "task" in params or (method in STATEFUL and _declares_tasks(meta))
    if method == "tasks/list":
        return Claim(method, None, related, lists=True, state=state)
    if method == "subscriptions/listen":
        related += _listened(params.get("notifications"))
    if begins or asks or related or state is not None:
        return Claim(method, envelope.name, related, begins=begins, asks=asks, state=state)
    return None


def _declares_tasks(meta: object) -> bool:
    """Tell whether an agent takes a task for an answer."""
    capabilities = meta.get(CAPABILITIES_KEY) if type(meta) is dict else None
    extensions = capabilities.get("extensions") if type(capabilities) is dict else None
    return type(extensions) is dict and TASKS_EXTENSION in extensions


def _related(meta: object) -> tuple[str | None, ...]:
    """Return the task that a request is said to be part of."""
    if type(meta) is not dict or RELATED_TASK not in meta:
        return ()
    related = meta[RELATED_TASK]
    task = related.get("taskId") if type(related) is dict else None
    return (task if type(task) is str else None,)


def _listened(notifications: object) -> tuple[str | None, ...]:
    """Return the tasks that an agent wants to hear of."""
    if type(notifications) is not dict or "taskIds" not in notifications:
        return ()
    tasks = notifications["taskIds"]
    if type(tasks) is not list:
        return (None,)
    return tuple(task if type(task) is str else None for task in tasks)
