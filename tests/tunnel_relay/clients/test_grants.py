"""A client is told of a session once a link, and again when what it was told is not true now."""

from typing import Any

import pytest

from shared import grant
from shared.errors import MisuseError
from shared.grant import Grant
from shared.policy.classes import ToolClass
from tests.shared.wire.golden import RELAY_KEY
from tunnel_relay.clients import grants as module
from tunnel_relay.clients.grants import LinkGrants
from tunnel_relay.store.base import Session

NOW = 1_700_000_000.0


class Sent:
    """What stands for the link and its driver: keeps what would be sent."""

    instance = "0" * 32
    epoch = 7

    def __init__(self) -> None:
        self.driver = self
        self.grants: list[Grant] = []

    def grant(self, payload: bytes) -> None:
        self.grants.append(grant.decode(payload, RELAY_KEY.public))

    def names(self) -> dict[str, Any]:
        return {}


class Told:
    """One link, and the groups of its users."""

    def __init__(self) -> None:
        self.sent = Sent()
        self.groups: dict[str, tuple[str, ...]] = {"ada": ("staff",)}
        self.now = NOW
        link: Any = self.sent
        self.grants = LinkGrants(
            link, RELAY_KEY, lambda user: self.groups.get(user, ()), lambda: self.now
        )


def session(at: int = 1, **more: Any) -> Session:
    of: dict[str, Any] = {"user": "ada", "agent": "claude", "tunnel": "lab", "upstream": "time"}
    times = {"created": NOW, "expires": NOW + 3600, "idle": 60.0, "last_used": NOW}
    return Session(f"{at:032x}", b"", **(of | times | more))


def test_a_client_is_told_once_what_a_session_is() -> None:
    told = Told()
    for _ in range(3):
        told.grants.ensure(session(classes=("read", "write")))
    (sent,) = told.sent.grants
    assert (sent.session, sent.user, sent.agent) == (session().id, "ada", "claude")
    assert (sent.tunnel, sent.upstream, sent.groups) == ("lab", "time", ("staff",))
    assert sent.classes == (ToolClass.READ, ToolClass.WRITE)
    assert (sent.issued, sent.expires) == (NOW, NOW + 3600)
    assert (sent.instance, sent.epoch) == ("0" * 32, 7)


@pytest.mark.parametrize(
    "changed", [{"classes": ("read",)}, {"expires": NOW + 60}], ids=["classes", "end"]
)
def test_a_session_that_changed_is_told_of_again(changed: dict[str, Any]) -> None:
    told = Told()
    told.grants.ensure(session())
    told.grants.ensure(session(**changed))
    first, second = told.sent.grants
    assert first.issued < second.issued


def test_a_user_who_left_a_group_is_told_of_before_the_next_call_s30() -> None:
    """S30: nobody has to think of it: what was told is held against what is true at each call."""
    told = Told()
    told.grants.ensure(session())
    told.groups["ada"] = ()
    told.grants.ensure(session())
    del told.groups["ada"]
    told.grants.ensure(session())
    assert [sent.groups for sent in told.sent.grants] == [("staff",), ()]


def test_what_is_revoked_or_forgotten_at_the_client_is_told_of_again() -> None:
    told = Told()
    told.grants.ensure(session())
    told.grants.forget(session().id)
    told.grants.forget(session().id)
    told.grants.ensure(session())
    assert len(told.sent.grants) == 2


def test_grants_of_a_link_are_issued_one_after_the_other_whatever_the_clock_does() -> None:
    told = Told()
    for back in range(5):
        told.now = NOW - back * 100
        told.grants.forget(session().id)
        told.grants.ensure(session())
    issued = [sent.issued for sent in told.sent.grants]
    assert issued == sorted(set(issued))


@pytest.mark.parametrize(
    "unfit",
    [
        {"user": "x" * 600},
        {"agent": "a\nb"},
        {"classes": ("root",)},
        {"expires": NOW - 1},
        {"user": "many"},
    ],
)
def test_what_cannot_be_said_whole_is_not_said_and_the_call_is_refused(
    unfit: dict[str, Any],
) -> None:
    told = Told()
    told.groups["many"] = tuple(f"group-{at}" for at in range(3000))
    with pytest.raises(MisuseError):
        told.grants.ensure(session(**unfit))
    assert told.sent.grants == []


def test_what_is_remembered_of_a_link_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_TOLD", 3)
    told = Told()
    for at in range(5):
        told.grants.ensure(session(at))
    assert len(told.grants._told) == 3
    told.grants.ensure(session(4))
    told.grants.ensure(session(0))
    assert len(told.sent.grants) == 6
