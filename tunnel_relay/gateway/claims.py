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

    tasks: tuple[str | None, ...] = ()
    begins: bool = False
    lists: bool = False
    asks: bool = False
    state: Any = None


RESUMED = Claim(begins=True, lists=True)
"""The claim of a legacy GET stream: it may bring again what any request was answered."""
_NOTHING = Claim()
_ASKS = Claim(asks=True)
"""Of nearly every modern call: made once."""


def read_claim(envelope: Envelope, modern: bool) -> Claim | None:
    """Return what a message claims; None for most."""
    params = envelope.params
    if envelope.kind is not Kind.REQUEST:
        return None
    if params is None:
        params = {}
    method = envelope.method or ""
    state = params.get("requestState")
    meta = params.get("_meta")
    if type(meta) is not dict:
        meta = {}
    tasks = _related(meta) if RELATED_TASK in meta else ()
    if method in STATEFUL:
        begins = "task" in params or _declares_tasks(meta.get(CAPABILITIES_KEY))
        if not (begins or tasks) and state is None:
            return _ASKS if modern else None
        claim = Claim(tasks, begins, False, modern, state)
    elif method in _ON_TASK:
        return Claim((envelope.name, *tasks), state=state)
    elif method == "tasks/list":
        return Claim(tasks, lists=True, state=state)
    else:
        if method == "subscriptions/listen":
            tasks += _listened(params.get("notifications"))
        claim = Claim(tasks, "task" in params, False, False, state)
    return None if claim == _NOTHING else claim


def _declares_tasks(capabilities: Any) -> bool:
    """Tell whether an agent takes a task for an answer."""
    if not capabilities or type(capabilities) is not dict:
        return False
    extensions = capabilities.get("extensions")
    return type(extensions) is dict and TASKS_EXTENSION in extensions


def _related(meta: dict[str, Any]) -> tuple[str | None, ...]:
    """Return the task that a request is said to be part of."""
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
