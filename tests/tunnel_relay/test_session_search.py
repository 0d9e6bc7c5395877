"""Sessions are found among very many, in pages, without keeping calls waiting."""

import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from shared.ids import fingerprint
from tests.tunnel_relay.making import an_admin
from tunnel_relay.admin.service import Admin
from tunnel_relay.errors import Code, RelayError
from tunnel_relay.session_search import Wanted
from tunnel_relay.sessions import Refusal
from tunnel_relay.store.base import Session

MANY = 100_000
SESSION = Session(
    "0" * 32, b"\xab\xcd\xef\x01" + bytes(28), "Ada", "Claude", "office", "git", 0, 100, 50, 0
)


def fill(admin: Admin, many: int, ended: int = 0) -> None:
    now = admin.clock()
    for number in range(many):
        admin.sessions.put(
            replace(
                SESSION,
                id=f"{number:032x}",
                digest=number.to_bytes(32, "big"),
                user=f"user{number % 100}",
                created=now,
                expires=now - 1 if number < ended else now + 1000,
                idle=1000,
                last_used=now,
            )
        )


@pytest.mark.parametrize(
    ("query", "holds"),
    [
        ("", True),
        ("ada", True),
        ("CLAUDE", True),
        ("office/git", True),
        ("ice/g", True),
        ("00000", True),
        (fingerprint(SESSION.digest), True),
        ("abc", True),
        ("nothing", False),
        ("bcd", False),
    ],
)
def test_a_query_is_found_in_names_or_at_the_start_of_identifiers(query: str, holds: bool) -> None:
    assert Wanted(query=query).test()(SESSION, None) is holds


@pytest.mark.parametrize(
    ("state", "ended", "wanted"),
    [
        ("live", None, True),
        ("live", Refusal.IDLE, False),
        ("ended", Refusal.IDLE, True),
        ("ended", None, False),
        ("all", None, True),
        ("all", Refusal.REVOKED, True),
        ("revoked", Refusal.REVOKED, True),
        ("revoked", Refusal.EXPIRED, False),
        ("revoked", None, False),
    ],
)
def test_states(state: str, ended: Refusal | None, wanted: bool) -> None:
    assert Wanted(state=state).test()(SESSION, ended) is wanted
    assert not Wanted(state=state, user="ada").test()(SESSION, ended)  # users are exact


async def test_pages_hold_every_session_once_the_newest_first(tmp_path: Path) -> None:
    async with an_admin(tmp_path) as admin:
        fill(admin, 250, ended=50)
        seen: list[str] = []
        after: str | None = None
        while True:
            page = await admin.session_list(limit=60, after=after)
            seen += [each["id"] for each in page["sessions"]]
            after = page["next"]
            if after is None:
                break
        assert seen == [f"{number:032x}" for number in range(249, 49, -1)]
        assert len((await admin.session_list())["sessions"]) == 100
        assert len((await admin.session_list(state="expired"))["sessions"]) == 50
        assert len((await admin.session_list(user="user7", state="all"))["sessions"]) == 3


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        ({"limit": 0}, Code.BAD_REQUEST),
        ({"limit": 1001}, Code.BAD_REQUEST),
        ({"state": "sleeping"}, Code.BAD_REQUEST),
        ({"query": "x" * 300}, Code.BAD_REQUEST),
        ({"after": "f" * 32}, Code.SESSION_UNKNOWN),
    ],
)
async def test_what_cannot_be_asked(tmp_path: Path, arguments: Any, code: Code) -> None:
    async with an_admin(tmp_path) as admin:
        with pytest.raises(RelayError) as caught:
            await admin.session_list(**arguments)
        assert caught.value.code is code


@pytest.mark.slow
async def test_others_run_while_a_hundred_thousand_are_searched(tmp_path: Path) -> None:
    """The worst search, that finds nothing, is cut into slices of a few milliseconds."""
    async with an_admin(tmp_path) as admin:
        fill(admin, MANY, ended=MANY)
        turns = 0

        async def others() -> None:
            nonlocal turns
            while True:
                await anyio.lowlevel.checkpoint()
                turns += 1

        with anyio.fail_after(20):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(others)
                await anyio.lowlevel.checkpoint()
                began, before = time.perf_counter(), turns
                found = await admin.session_list(query="nobody", state="all")
                took = time.perf_counter() - began
                assert turns - before >= MANY // 2000 - 2
                assert (await admin.status())["sessions"] == {"live": 0, "ended": MANY}
                tasks.cancel_scope.cancel()
        assert found == {"sessions": [], "next": None}
        print(f"searched {MANY} sessions in {took * 1000:.0f} ms")  # noqa: T201 # for -s
