"""Keeps the policy true while the client runs: looks at the file, and hears SIGHUP.

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
from tunnel_client.policy.load import POLL

log = structlog.get_logger("tunnel_client")


async def keep_policy(
    policy: PolicyFile, notifier: Notifier, hangups: Hangups, others: Sequence[Part]
) -> None:
    """Work until cancelled; reading happens in a thread, one at a time.

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
        log.info("a reload was asked for while the client started")
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
    log.error("reading again failed; the one before holds", part=part, why=what)


def _say(outcome: Outcome) -> None:
    if outcome.problem is not None:
        note("policy.refused", digest=outcome.digest)
        log.error("the policy file cannot be used; the one before holds", why=outcome.problem)
    else:
        note("policy.read", digest=outcome.digest, changed=outcome.changed)
        log.info("policy read", digest=outcome.digest[:12], changed=outcome.changed)
