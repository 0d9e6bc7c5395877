"""Keeps the policy true while the relay runs: looks at the file, and hears SIGHUP."""

import signal

import anyio
import structlog

from shared.audit.events import note
from shared.notify import Notifier
from shared.policy.keeping import Outcome, PolicyFile
from tunnel_relay.policy.load import POLL

log = structlog.get_logger("tunnel_relay.policy")


async def keep_policy(policy: PolicyFile, notifier: Notifier) -> None:
    """Work until cancelled; reading and parsing happen in a thread, one at a time."""
    turn = anyio.Lock()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(_on_signal, policy, turn, notifier)
        while True:
            await anyio.sleep(POLL)
            async with turn:
                outcome = await anyio.to_thread.run_sync(policy.poll)
            if outcome is not None:
                _say(outcome)


async def _on_signal(policy: PolicyFile, turn: anyio.Lock, notifier: Notifier) -> None:
    with anyio.open_signal_receiver(signal.SIGHUP) as signals:
        async for _ in signals:
            notifier.reloading()
            async with turn:
                outcome = await anyio.to_thread.run_sync(policy.reload)
            _say(outcome)
            notifier.ready("policy read" if outcome.problem is None else "policy refused")


def _say(outcome: Outcome) -> None:
    if outcome.problem is not None:
        note("policy.refused", digest=outcome.digest, reason=outcome.problem)
        log.error("policy_unusable", reason=outcome.problem, holds="the one before")
    else:
        note("policy.read", digest=outcome.digest, changed=outcome.changed)
        log.info("policy_read", digest=outcome.digest[:12], changed=outcome.changed)
