"""Keeps the policy true while the relay runs: looks at the file, and hears SIGHUP.

A program hears a signal in one place, so what else it is about is read again from here.
"""

from collections.abc import Sequence
from functools import partial

import anyio
import structlog

from shared.audit.events import note
from shared.hangup import Hangups
from shared.notify import Notifier
from shared.policy.keeping import Outcome, PolicyFile
from shared.rereading import Part, read_parts
from tunnel_relay.policy.load import POLL

log = structlog.get_logger("tunnel_relay.policy")


async def keep_policy(
    policy: PolicyFile, notifier: Notifier, hangups: Hangups, others: Sequence[Part]
) -> None:
    """Work until cancelled; reading and parsing happen in a thread, one at a time.

    `others` are read after the policy when SIGHUP comes. Nothing that is read can end this.
    """
    turn = anyio.Lock()
    looked = Part("policy", partial(_look, policy, turn))
    parts = [Part("policy", partial(_read, policy, turn)), *others]
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(_on_signal, notifier, hangups, parts)
        while True:
            await anyio.sleep(POLL)
            await read_parts([looked], _broke)


async def _on_signal(notifier: Notifier, hangups: Hangups, parts: Sequence[Part]) -> None:
    if hangups.pending:
        log.info("reload_was_asked", when="while the relay started")
    while True:
        await hangups.next()
        notifier.reloading()
        notifier.ready(await read_parts(parts, _broke))


async def _read(policy: PolicyFile, turn: anyio.Lock) -> str:
    async with turn:
        outcome = await anyio.to_thread.run_sync(policy.reload)
    _say(outcome)
    return "policy read" if outcome.problem is None else "policy refused"


async def _look(policy: PolicyFile, turn: anyio.Lock) -> str:
    async with turn:
        outcome = await anyio.to_thread.run_sync(policy.poll)
    if outcome is not None:
        _say(outcome)
    return ""


def _broke(part: str, what: str) -> None:
    log.error("reading_again_failed", part=part, reason=what, holds="the one before")


def _say(outcome: Outcome) -> None:
    if outcome.problem is not None:
        note("policy.refused", digest=outcome.digest, reason=outcome.problem)
        log.error("policy_unusable", reason=outcome.problem, holds="the one before")
    else:
        note("policy.read", digest=outcome.digest, changed=outcome.changed)
        log.info("policy_read", digest=outcome.digest[:12], changed=outcome.changed)
