"""Keeps the policy true while the relay runs: looks at the file, and hears SIGHUP.

A program hears a signal in one place, so the certificates are read again from here.
"""

from collections.abc import Callable

import anyio
import structlog

from shared.audit.events import note
from shared.hangup import Hangups
from shared.notify import Notifier
from shared.policy.keeping import Outcome, PolicyFile
from tunnel_relay.policy.load import POLL

log = structlog.get_logger("tunnel_relay.policy")


async def keep_policy(
    policy: PolicyFile, notifier: Notifier, hangups: Hangups, certificates: Callable[[], bool]
) -> None:
    """Work until cancelled; reading and parsing happen in a thread, one at a time.

    `certificates` reads those and tells whether they can be used.
    """
    turn = anyio.Lock()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(_on_signal, policy, turn, notifier, hangups, certificates)
        while True:
            await anyio.sleep(POLL)
            async with turn:
                outcome = await anyio.to_thread.run_sync(policy.poll)
            if outcome is not None:
                _say(outcome)


async def _on_signal(
    policy: PolicyFile,
    turn: anyio.Lock,
    notifier: Notifier,
    hangups: Hangups,
    certificates: Callable[[], bool],
) -> None:
    if hangups.pending:
        log.info("reload_was_asked", when="while the relay started")
    while True:
        await hangups.next()
        notifier.reloading()
        async with turn:
            outcome = await anyio.to_thread.run_sync(policy.reload)
            good = await anyio.to_thread.run_sync(certificates)
        _say(outcome)
        said = "policy read" if outcome.problem is None else "policy refused"
        notifier.ready(said if good else f"{said}, certificate refused")


def _say(outcome: Outcome) -> None:
    if outcome.problem is not None:
        note("policy.refused", digest=outcome.digest, reason=outcome.problem)
        log.error("policy_unusable", reason=outcome.problem, holds="the one before")
    else:
        note("policy.read", digest=outcome.digest, changed=outcome.changed)
        log.info("policy_read", digest=outcome.digest[:12], changed=outcome.changed)
