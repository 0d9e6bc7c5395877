"""Who may approve what, and what a decision makes of a request."""

import contextlib
import json
from dataclasses import replace
from itertools import product
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.keys import PrivateKey, encode_public, key_fingerprint
from tests.tunnel_relay.approvals.scene import POLICY, SHA, needs
from tunnel_relay.approvals.decide import (
    DEFAULT_TTL,
    NEXT,
    Deed,
    Needs,
    NeedsError,
    No,
    after,
    permit_of,
    read_needs,
    refuse,
    satisfies,
    state_of,
    with_voice,
)
from tunnel_relay.store.approvals import Approval, State, Voice
from tunnel_relay.store.base import Role, User

ASKED = Approval(
    id="1" * 32,
    session="2" * 32,
    fingerprint="12345678",
    user="uma",
    agent="bot",
    tunnel="office",
    upstream="mail",
    tool="send",
    tool_class="external_send",
    definition=SHA,
    arguments="a" * 64,
    policy=POLICY,
    rule="mail leaves",
    groups=("ops",),
    users=("zoe",),
    count=1,
    not_requester=True,
    keys=(),
    created=100.5,
    expires=200.5,
)


def user(key: str, *groups: str, roles: tuple[Role, ...] = (Role.APPROVER,)) -> User:
    return User(key, key, 0.0, roles, groups)


def said(who: str, **more: str) -> Voice:
    return Voice(who, 120.0, **more)


def no(approval: Approval, who: User, now: float = 120.0, **more: str) -> No | None:
    return refuse(approval, who, said(who.key, **more), now)


def test_nothing_can_happen_but_what_the_table_says() -> None:
    for state, deed in product(State, Deed):
        assert after(replace(ASKED, state=state), deed, 120.0) is NEXT.get((state, deed))
    for state in (State.DENIED, State.EXPIRED, State.CONSUMED):
        assert not any(start is state for start, _ in NEXT)
    assert [start for (start, deed) in NEXT if deed is Deed.CONSUME] == [State.APPROVED]


def test_what_is_over_by_time_can_neither_be_approved_nor_used() -> None:
    """P23."""
    for state in (State.PENDING, State.APPROVED):
        late = replace(ASKED, state=state)
        assert state_of(late, 200.4) is state
        assert state_of(late, 200.5) is State.EXPIRED
        assert [after(late, deed, 200.5) for deed in Deed] == [None] * 4
    assert state_of(replace(ASKED, state=State.CONSUMED), 300) is State.CONSUMED


def test_only_approvers_whom_the_rule_names_decide() -> None:
    """P25."""
    assert no(ASKED, user("pia", "ops")) is None
    assert no(ASKED, user("zoe")) is None
    assert no(ASKED, user("ada", "ops", roles=(Role.ADMIN,))) is None
    assert no(ASKED, user("ada", roles=(Role.ADMIN,))) is No.OUTSIDE
    assert no(ASKED, user("eve", "sales")) is No.OUTSIDE
    assert no(ASKED, user("otto", "ops", roles=(Role.AUDITOR, Role.USER))) is No.OUTSIDE


def test_nobody_approves_what_their_own_agent_asks_for() -> None:
    """P24; a rule may say otherwise, but not of a break-glass call (P34)."""
    uma = user("uma", "ops")
    assert no(ASKED, uma) is No.OWN
    assert no(replace(ASKED, not_requester=False), uma) is None
    glass = replace(ASKED, not_requester=False, tool_class="break_glass")
    assert no(glass, uma, reason="fire") is No.OWN


def test_break_glass_takes_a_reason() -> None:
    """P34."""
    glass = replace(ASKED, tool_class="break_glass")
    assert no(glass, user("pia", "ops")) is No.REASON
    assert no(glass, user("pia", "ops"), reason="fire") is None


def test_approvers_are_counted_once_by_name_and_by_key() -> None:
    two = replace(ASKED, count=2)
    once = with_voice(two, said("pia", key="k"))
    assert once.state is State.PENDING
    assert no(once, user("pia", "ops")) is No.AGAIN
    assert no(once, user("paul", "ops"), key="k") is No.AGAIN
    assert no(once, user("paul", "ops"), key="l") is None
    twice = with_voice(once, said("paul"))
    assert (twice.state, twice.decided_by) == (State.APPROVED, "paul")
    assert no(twice, user("zoe")) is No.OVER
    assert permit_of(twice) == permit_of(two)


def test_where_keys_are_listed_a_word_is_not_enough() -> None:
    key = PrivateKey.generate().public
    keyed = replace(ASKED, keys=("0" * 16, key_fingerprint(key)))
    assert no(keyed, user("pia", "ops")) is No.KEY
    other = encode_public(PrivateKey.generate().public)
    assert no(keyed, user("pia", "ops"), key=other) is No.KEY
    assert no(keyed, user("pia", "ops"), key=encode_public(key)) is None


def test_an_approval_by_others_is_not_enough_for_another_rule() -> None:
    approved = with_voice(ASKED, said("pia"))
    assert satisfies(approved, needs(), [user("pia", "ops")])
    assert not satisfies(approved, needs(groups=("night",)), [user("pia", "ops")])
    assert not satisfies(approved, needs(count=2), [user("pia", "ops"), user("pia", "ops")])
    assert not satisfies(approved, needs(), [user("uma", "ops")])


def detail(**more: Any) -> str:
    given = {"rule": "r", "class": "write", "sha256": SHA, "policy": POLICY, "groups": ["ops"]}
    return json.dumps(given | more)


def test_what_a_client_says_of_its_rule_is_read() -> None:
    key = key_fingerprint(PrivateKey.generate().public)
    found = read_needs(detail(users=["zoe"], count=2, ttl=60, not_requester=False, keys=[key]))
    assert found == Needs(POLICY, "r", "write", SHA, ("ops",), ("zoe",), 2, 60.0, False, (key,))
    plain = read_needs(detail())
    assert (plain.count, plain.ttl, plain.not_requester) == (1, DEFAULT_TTL, True)
    assert read_needs(detail(not_requester=None)).not_requester


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "[" * 5000,
        detail(groups=[], users=[]),
        detail(groups=None),
        detail(groups="ops"),
        detail(groups=[1]),
        detail(groups=["x"] * 101),
        detail(count=0),
        detail(count=9),
        detail(count=True),
        detail(ttl=0),
        detail(ttl=1e9),
        detail(ttl=float("nan")),
        detail(policy=None),
        detail(policy="p" * 65),
        detail(rule="a\nb"),
        detail(sha256=5),
        detail(keys=["x"]),
        detail(keys=["x"] * 17),
    ],
)
def test_a_rule_that_makes_no_sense_asks_nobody(text: str) -> None:
    with pytest.raises(NeedsError):
        read_needs(text)


@given(st.text() | st.recursive(st.none() | st.text() | st.integers(), st.lists).map(json.dumps))
def test_reading_is_total(text: str) -> None:
    with contextlib.suppress(NeedsError):
        read_needs(text)
