"""Holds MCP tasks and request states to the sessions that they came from (rows S20 and S21).

What a session was handed is seen in its answers as they pass; what it brings is looked up. An
answer's bytes stay as they are, but for lists of tasks, which are cut down to the session's own.
"""

import time
from collections.abc import Callable
from typing import Any

import structlog

from shared.jsonrpc.envelope import INVALID_PARAMS, EnvelopeError
from shared.jsonrpc.needles import holds
from shared.jsonrpc.results import Document, EditError, Editor, Reader, Watcher
from shared.policy.actions import LISTS
from tunnel_relay.gateway import answers
from tunnel_relay.gateway.answers import Answer
from tunnel_relay.gateway.call import Call
from tunnel_relay.gateway.claims import RESUMED
from tunnel_relay.gateway.responses import ResponseHead
from tunnel_relay.gateway.states import States
from tunnel_relay.tasks import TaskTable

log = structlog.get_logger("tunnel_relay.gateway")

_TASK = b"taskId"
_STATE = b"requestState"
_NEEDLES: dict[tuple[bool, bool], tuple[bytes, ...]] = {
    (True, False): (_TASK,),
    (False, True): (_STATE,),
    (True, True): (_TASK, _STATE),
}
"""By what an answer may be: a task, a question."""
_LISTED = (
    *(b'"tasks"', b'"taskid"'),
    *(b'"%b"' % listed.member.lower().encode() for listed in LISTS.values()),
)
"""One of them, in some spelling, is in every list that is edited."""


class Binding:
    """What sessions own beyond themselves; `clock` is wall time, `now` monotonic."""

    def __init__(
        self,
        tasks: TaskTable,
        clock: Callable[[], float] = time.time,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._tasks = tasks
        self._states = States()
        self._clock = clock
        self._now = now

    def admit(self, call: Call) -> Answer | None:
        """Return the refusal of a call that brings what is not its session's.

        Foreign and unknown are one answer. A state that is good is used up.
        """
        claim, session = call.claim, call.session
        if claim is None:
            return None
        for task in claim.tasks:
            if task is None or not self._tasks.owns(session, task):
                return _refused(call, "Failed to retrieve task: Task not found")
        if claim.state is not None:
            ends = None
            if type(claim.state) is str:
                ends = self._states.take(session.id, call.what, claim.state, self._now())
            if ends is None:
                why = {"reason": "invalid_request_state"}
                return _refused(call, "Invalid or expired requestState", why)
            call.state_ends = ends
        return None

    def give_back(self, call: Call) -> None:
        """Undo what `admit` used up: the call was never sent."""
        claim = call.claim
        if claim is not None and call.state_ends:
            self._states.give_back(call.session.id, call.what, claim.state, call.state_ends)
            call.state_ends = 0.0

    def reader(self, call: Call, head: ResponseHead) -> Reader | None:
        """Return what the body of an answer has to pass through, None for nothing."""
        claim = call.claim
        if call.edit is not None or (claim is not None and claim.lists):
            return self._editor(call, head)
        if claim is None:
            return None
        needles = _NEEDLES.get((claim.begins, claim.asks))
        if needles is None:
            return None
        length = None if head.length is None else int(head.length)
        events = head.event_stream
        return Watcher(
            needles, lambda document: self._see(call, document), event_stream=events, length=length
        )

    def whole(self, call: Call, head: ResponseHead, body: bytes) -> bytes:
        """Return a whole answer as it goes on; raises EditError."""
        claim = call.claim
        if call.edit is None and (claim is None or not claim.lists):
            if claim is None:
                return body
            needles = _NEEDLES.get((claim.begins, claim.asks))
            if needles is None or not holds(needles, body):
                return body
        reader = self.reader(call, head)
        return body if reader is None else reader.feed(body) + reader.end()

    def ended(self, call: Call, reader: Reader) -> None:
        """Say so when an answer was too large to be looked into: what it handed out is refused."""
        if isinstance(reader, Watcher) and reader.unseen:
            log.info("answer_not_looked_into", session=call.session.id[:12])

    def forget(self, now: float) -> None:
        """Let go of states that are over; `now` is monotonic."""
        self._states.forget(now)

    def _editor(self, call: Call, head: ResponseHead) -> Reader | None:
        if not 200 <= head.status < 300:
            return None  # an agent takes no result from it
        return Editor(
            lambda document: self._edited(call, document),
            event_stream=head.event_stream,
            # A resumed stream carries anything, and is long.
            needles=_LISTED if call.claim is RESUMED else (),
        )

    def _edited(self, call: Call, document: Document) -> Document | None:
        """Return an answer as the agent gets it, None when that is as it came."""
        lists = call.claim is not None and call.claim.lists
        changed = self._cut_down(call, document) if lists else None
        again = None if call.edit is None else call.edit(changed or document)
        return changed if again is None else again

    def _see(self, call: Call, document: Document) -> None:
        """Bind what an answer hands to the session."""
        result, claim = document.get("result"), call.claim
        if type(result) is not dict or claim is None:
            return
        if claim.begins:
            task = _begun(result)
            if task is not None:
                self._tasks.begin(call.session, task, self._clock())
        if claim.asks and result.get("resultType") == "input_required":
            state = result.get("requestState")
            if type(state) is str:
                self._states.hand(call.session.id, call.what, state, self._now())

    def _cut_down(self, call: Call, document: Document) -> Document | None:
        """Leave only the session's own tasks in a list of them."""
        if call.claim is RESUMED:
            self._see(call, document)
        result = document.get("result")
        if type(result) is not dict or "tasks" not in result:
            return None
        tasks = result["tasks"]
        if type(tasks) is not list:
            if call.claim is RESUMED:
                return None  # of another request
            raise EditError("a list of tasks is none")
        ids = [*map(_task_id, tasks)]
        if call.claim is RESUMED and not any(map(bool, ids)):
            return None
        owns = [found is not None and self._tasks.owns(call.session, found) for found in ids]
        if all(owns):
            return None
        own = [task for task, mine in zip(tasks, owns, strict=True) if mine]
        return {**document, "result": {**result, "tasks": own}}


def _task_id(task: Any) -> str | None:
    found = task.get("taskId") if type(task) is dict else None
    return found if type(found) is str else None


def _begun(result: dict[str, Any]) -> str | None:
    """Return the id of the task that a result is, in either era's shape."""
    task = result if result.get("resultType") == "task" else result.get("task")
    return _task_id(task)


def _refused(call: Call, message: str, data: dict[str, Any] | None = None) -> Answer:
    # As the SDKs answer: an error is a plain answer in the legacy era.
    status = 400 if call.modern else 200
    error = EnvelopeError(INVALID_PARAMS, message, call.message_id, status, data)
    return answers.envelope_refused(error)
