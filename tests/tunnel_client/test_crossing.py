"""A call whose permit was used up is judged once more: what changed meanwhile counts.

Judge, catalogue, pins, policy and permits are the real ones. Link and upstream only note what they
are told. The clock of the permits stands for all that happens while one is written to the disk.
"""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from shared.audit.log import AuditLog
from shared.errors import ResetCode
from shared.grant import Grant
from shared.keys import PrivateKey
from shared.permit import Permit, Signed
from shared.policy.classes import ToolClass
from shared.policy.model import Policy
from shared.record.redact import Redactor
from shared.wire.codec import OpenHead, encode_open
from tests.helpers.audit_log import records
from tests.shared.policy.texts import policy
from tests.shared.test_permit import PERMIT
from tests.tunnel_client.test_judge import ADD, ALL, ASK, READ, a_call, a_grant, pinned
from tunnel_client.audit.calls import Calls
from tunnel_client.audit.spelling import Spelling
from tunnel_client.bridge import Bridge
from tunnel_client.catalog.catalog import Catalog
from tunnel_client.catalog.pins import Pins
from tunnel_client.judge import Asks, Judge
from tunnel_client.permit_desk import PermitDesk
from tunnel_client.permits import Permits
from tunnel_client.tally import Tally
from tunnel_client.upstream.base import UpstreamRequest

NOW = 1_500.0
RELAY = PrivateKey.generate()


class Scene:
    """A bridge before one upstream; `meanwhile` happens while a permit is written down."""

    def __init__(self, folder: Path) -> None:
        folder.chmod(0o700)
        self.folder = folder
        self.policy: Policy = policy(ASK)
        self.grant: Grant | None = replace(a_grant(), agent="agent")
        self.meanwhile: Callable[[Scene], None] = lambda _: None
        pinned(folder, {"ab": ToolClass.WRITE}, ADD, READ)
        self.catalog = Catalog(Pins(folder), ["ab"], [])
        self.judge = Judge(lambda: self.policy, self.catalog)
        self.opened: list[UpstreamRequest] = []
        self.resets: list[ResetCode] = []
        self.over = asyncio.Event()
        permits = Permits.open(folder, self._clock)
        upstream = SimpleNamespace(name="ab", open=self._open)
        grants: Any = SimpleNamespace(
            find=lambda _: self.grant, seldom=SimpleNamespace(log=lambda *_, **__: None)
        )
        self.bridge = Bridge(
            {"ab": cast(Any, upstream)},
            *(grants, self.judge, PermitDesk(permits, RELAY.public), Calls(None), Tally()),
        )

    def _open(self, request: UpstreamRequest, _: object) -> None:
        self.opened.append(request)
        self.over.set()

    def _reset(self, _: int, code: ResetCode, __: str) -> None:
        self.resets.append(code)
        self.over.set()

    def _clock(self) -> float:
        self.meanwhile(self)
        return NOW

    async def call(self) -> list[ResetCode]:
        """Make the call with a good permit; returns how its stream was ended, if it was."""
        request = a_call("ab", n=1)
        assert self.grant is not None
        asked = self.judge.judge(self.grant, request)
        assert isinstance(asked, Asks)
        expected = asked.expects(self.grant, request.body, RELAY.public)
        known = {
            name: getattr(expected, name) for name in Permit.__slots__ if hasattr(expected, name)
        }
        text = Signed(replace(PERMIT, **known), ("pia",), {}).vouched(RELAY).text()
        head = OpenHead("ab", "POST", self.grant.session, "", [], permit=text)
        driver: Any = SimpleNamespace(link="l", reset=self._reset, lost=False)
        self.bridge.open(driver, 1, encode_open(head), request.body)
        await self.over.wait()
        return self.resets


async def test_a_call_with_a_good_permit_runs(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    assert await scene.call() == []
    assert len(scene.opened) == 1


def denies(scene: Scene) -> None:
    scene.policy = policy('- {id: none, match: {method: "*"}, effect: deny}')


def allows(scene: Scene) -> None:
    scene.policy = policy('- {id: all, match: {method: "*"}, effect: allow}')


def asks_others(scene: Scene) -> None:
    scene.policy = policy(ASK.replace("[ops]", "[board]"))


def says_more(scene: Scene) -> None:
    scene.policy = policy(ASK + "- {id: more, match: {tool: other}, effect: deny}\n")


def is_pinned_anew(scene: Scene) -> None:
    pinned(scene.folder, {"ab": ToolClass.WRITE}, {**ADD, "title": "Add"}, READ)
    assert scene.catalog.refresh_pins()


def is_unpinned(scene: Scene) -> None:
    pinned(scene.folder, {}, ADD, READ)
    assert scene.catalog.refresh_pins()


def ends(scene: Scene) -> None:
    scene.grant = None


@pytest.mark.parametrize(
    ("meanwhile", "code"),
    [
        (denies, ResetCode.NEEDS_APPROVAL),
        (allows, ResetCode.NEEDS_APPROVAL),
        (asks_others, ResetCode.NEEDS_APPROVAL),
        (says_more, ResetCode.NEEDS_APPROVAL),
        (is_pinned_anew, ResetCode.NEEDS_APPROVAL),
        (is_unpinned, ResetCode.NEEDS_APPROVAL),
        (ends, ResetCode.NO_GRANT),
    ],
)
async def test_what_changes_while_a_permit_is_written_down_counts(
    tmp_path: Path, meanwhile: Callable[[Scene], None], code: ResetCode
) -> None:
    """P26, P27: the permit is used up, and the call does not run."""
    scene = Scene(tmp_path)
    scene.meanwhile = meanwhile
    assert await scene.call() == [code]
    assert scene.opened == []


@pytest.mark.parametrize(
    ("status", "result"),
    [(202, "ok"), (204, "ok"), (404, "protocol_error"), (500, "protocol_error")],
)
async def test_an_answer_without_a_body_is_an_answer_in_the_record(
    tmp_path: Path, status: int, result: str
) -> None:
    """So upstreams answer every notification, and the end of a session."""
    scene = Scene(tmp_path)
    scene.policy = policy(ALL)
    log = AuditLog(tmp_path / "log", "test")
    scene.bridge.calls = Calls(log, Spelling(Redactor(b"k" * 32), scene.judge))
    turn: list[Callable[[], object]] = []
    told: list[bytes] = []
    driver: Any = SimpleNamespace(
        link="l", at_turn_end=turn.append, respond=lambda *said: told.append(said[2])
    )
    assert scene.grant is not None
    head = OpenHead("ab", "DELETE", scene.grant.session, "", [])
    crossing = scene.bridge.open(driver, 1, encode_open(head), b"")
    assert crossing is not None
    turn.pop()()
    crossing.head(status, [(b"content-length", b"0")], end=True)
    assert told == [b""]
    log.close()
    (done,) = records(tmp_path / "log", "call.completion")
    wanted = (result, "done", status, 0)
    assert (done["result"], done["delivery"], done["status"], done["bytes"]) == wanted
