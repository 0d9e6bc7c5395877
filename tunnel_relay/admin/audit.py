"""Commands about the relay's log: searched, shown, verified; no command changes a record of it.

Who looks at what is for auditors only has that role, being an admin is not enough, and leaves a
record of it before anything is shown.
"""

from collections.abc import Callable
from typing import Any, TypeVar

import anyio
import anyio.to_thread

from shared.audit.log import AuditLog
from shared.audit.private import AuditError
from shared.audit.query import Page, Query, Wanted
from shared.audit.replay import UnknownSessionError, replay
from shared.audit.verifying import verify_folder
from shared.audit.words import UnknownWordError, check_words
from shared.keys import encode_public
from tunnel_relay.admin.acting import actor, holds
from tunnel_relay.admin.core import AdminCore
from tunnel_relay.audit.sensitive import without
from tunnel_relay.errors import Code, RelayError
from tunnel_relay.store.base import Role

MAX_RECORDS = 500
MAX_WORD = 512

_T = TypeVar("_T")


class AuditCommands(AdminCore):
    """See `shared.audit`; files are read in a thread, one question at a time."""

    _verified: dict[str, Any] | None = None
    _one: anyio.CapacityLimiter | None = None

    async def audit_query(
        self,
        kind: str | None = None,
        user: str | None = None,
        agent: str | None = None,
        session: str | None = None,
        server: str | None = None,
        tool: str | None = None,
        tool_class: str | None = None,
        decision: str | None = None,
        result: str | None = None,
        call: str | None = None,
        since: float | None = None,
        until: float | None = None,
        after: int | None = None,
        before: int | None = None,
        newest: bool = True,
        limit: int = 50,
        sensitive: bool = False,
    ) -> dict[str, Any]:
        """Return records that fit, and where the next page begins (`before`, or `after`).

        `kind` and `session` are found by how they begin, `server` as well by `TUNNEL/UPSTREAM`.
        Times in seconds since 1970. What is for auditors only is replaced, unless an auditor asks
        for it by `sensitive`.
        """
        words = {
            "kind": kind,
            "user": user,
            "agent": agent,
            "session": session,
            "server": server,
            "tool": tool,
            "tool_class": tool_class,
            "decision": decision,
            "result": result,
            "call": call,
        }
        times = {"since": _microseconds(since), "until": _microseconds(until)}
        wanted = Wanted(**_checked(words))._replace(**times)  # type: ignore[arg-type]
        bounds = {"after": after, "before": before}
        _check_limit(limit)
        _check_sight(sensitive)
        page = await self._ask(lambda log: _page(log, wanted, newest, limit=limit, **bounds))
        asked = {name: value for name, value in {**words, **times, **bounds}.items() if value}
        await self._seen("audit_query", asked, len(page.records), sensitive)
        shown = page.records if sensitive else list(map(without, page.records))
        return {"records": shown, "cursor": page.cursor}

    async def audit_show(self, seq: int, sensitive: bool = False) -> dict[str, Any]:
        """Return one record, and the others of the same call."""
        _check_sight(sensitive)

        def ask(log: Query) -> list[dict[str, Any]]:
            found = log.page(Wanted(), limit=1, after=seq - 1).records if seq >= 0 else []
            if not found or found[0]["seq"] != seq:
                return []
            call = found[0].get("call")
            if not isinstance(call, str) or not call:
                return found
            others = log.page(Wanted(call=call), limit=10).records
            return found + [each for each in others if each["seq"] != seq]

        found = await self._ask(ask)
        if not found:
            raise RelayError(Code.RECORD_UNKNOWN, f"there is no record {seq}")
        await self._seen("audit_show", {"seq": seq}, len(found), sensitive)
        shown = found if sensitive else list(map(without, found))
        return {"record": shown[0], "others": [each["seq"] for each in shown[1:]]}

    async def audit_replay(
        self, session: str, after: int | None = None, limit: int = 200, sensitive: bool = False
    ) -> dict[str, Any]:
        """Return how a session went, step by step; it is read, nothing is called again."""
        _check_limit(limit)
        _check_sight(sensitive)
        _checked({"session": session})
        found = await self._ask(lambda log: replay(log, session, limit=limit, after=after))
        await self._seen("audit_replay", {"session": session}, len(found.entries), sensitive)
        shown = found.as_dict()
        if not sensitive:
            shown["entries"] = list(map(without, shown["entries"]))
        return shown

    async def audit_state(self) -> dict[str, Any]:
        """Return how the log is: whether it can be written, and what was last verified."""
        log = self._log()
        return {
            "failing": log.failing,
            "records": log.size,
            "verified": self._verified,
        }

    async def audit_verify(self) -> dict[str, Any]:
        """Verify the whole log, which takes some seconds for a million records."""
        log = self._log()
        report = await self._run(lambda: verify_folder(log.folder, log.public))
        shown = {**report.as_dict(), "findings": [each.as_dict() for each in report.findings[:50]]}
        shown["open_intents"] = len(report.open_intents)
        self._verified = {**shown, "at": self.clock(), "by": actor()}
        return self._verified

    async def audit_checkpoint(self) -> dict[str, Any]:
        """Return the newest signed checkpoint, to be kept elsewhere, and the key that signed it."""
        log = self._log()
        note = log.checkpoint()
        if note is None:
            raise RelayError(Code.AUDIT_UNREADABLE, "nothing is signed yet; wait ten seconds")
        return {"checkpoint": note, "public_key": encode_public(log.public)}

    # How it is read ------------------------------------------------------------------------------

    def _log(self) -> AuditLog:
        if self.records.log is None:
            raise RelayError(Code.AUDIT_OFF, "no log is kept, so nobody could see who looked at it")
        return self.records.log

    async def _ask(self, question: Callable[[Query], _T]) -> _T:
        log = self._log()
        log.flush()  # what was said until now is to be found

        def ask() -> _T:
            with Query(log.folder) as query:
                return question(query)

        return await self._run(ask)

    async def _run(self, work: Callable[[], _T]) -> _T:
        if self._one is None:
            self._one = anyio.CapacityLimiter(1)
        try:
            return await anyio.to_thread.run_sync(work, limiter=self._one)
        except UnknownSessionError as error:
            raise RelayError(Code.RECORD_UNKNOWN, str(error)) from None
        except UnknownWordError as error:
            raise RelayError(Code.BAD_REQUEST, str(error)) from None
        except AuditError as error:
            raise RelayError(Code.AUDIT_UNREADABLE, str(error)) from None

    async def _seen(
        self, command: str, asked: dict[str, Any], records: int, sensitive: bool
    ) -> None:
        """Write down that somebody looks at what is for auditors only; raises RelayError."""
        if sensitive:
            facts = {"asked": asked, "by": actor(), "command": command, "records": records}
            await self.records.viewed(facts)


def _page(log: Query, wanted: Wanted, newest: bool, **bounds: Any) -> Page:
    check_words(log, wanted)
    return log.page(wanted, newest=newest, **bounds)


def _check_sight(sensitive: bool) -> None:
    if sensitive and not holds(Role.AUDITOR):
        raise RelayError(Code.ROLE_NEEDED, "that takes the role auditor; admin is not enough")


def _check_limit(limit: int) -> None:
    if not 0 < limit <= MAX_RECORDS:
        raise RelayError(Code.BAD_REQUEST, f"limit is from 1 to {MAX_RECORDS}")


def _checked(words: dict[str, str | None]) -> dict[str, str | None]:
    if any(word is not None and len(word) > MAX_WORD for word in words.values()):
        raise RelayError(Code.BAD_REQUEST, "that is no word to search for: too long")
    return {name: word or None for name, word in words.items()}


def _microseconds(seconds: float | None) -> int | None:
    if seconds is None:
        return None
    if not 0 <= seconds < 1e11:
        raise RelayError(Code.BAD_REQUEST, "that is no time")
    return round(seconds * 1e6)
