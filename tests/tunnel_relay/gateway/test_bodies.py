"""What request bodies may hold of the relay's memory: of one session, of one user, of all."""

import json

from shared.wire.limits import MIB
from tests.tunnel_relay.test_sessions import a_session
from tunnel_relay.gateway import answers
from tunnel_relay.gateway.bodies import Bodies
from tunnel_relay.gateway.checks import Request
from tunnel_relay.gateway.patience import BODIES_BYTES, SMALL_BYTES
from tunnel_relay.identity.issuers import Issuer, Waits
from tunnel_relay.settings_issuers import IssuerSettings
from tunnel_relay.store.base import Session


def of(session: Session) -> Request:
    request = Request()
    request.session = session
    return request


def test_a_session_and_all_sessions_of_a_user_have_a_share() -> None:
    """D03, P41."""
    bodies = Bodies(session=10 * MIB, user=15 * MIB)
    first, second = a_session("a"), a_session("b")
    mine = [of(first) for _ in range(3)]
    assert [bodies.pay(each, 4 * MIB) is None for each in mine] == [True, True, False]
    theirs = [of(second) for _ in range(2)]
    assert [bodies.pay(each, 4 * MIB) is None for each in theirs] == [True, False]
    assert bodies.total == 12 * MIB
    bodies.free(mine[0])
    assert bodies.pay(theirs[1], 4 * MIB) is None


def test_a_refusal_says_when_to_come_again_and_for_which_call() -> None:
    bodies = Bodies(session=MIB, user=0)
    refused = bodies.pay(of(a_session("a")), 2 * MIB, "x-7")
    assert refused is not None
    assert refused.status == 429
    assert (b"retry-after", b"1") in refused.headers
    told = json.loads(refused.body)
    assert told["id"] == "x-7"
    assert told["error"]["data"] == {"origin": "relay", "delivery": "never_sent"}


def test_a_body_is_paid_as_it_grows_and_freed_once() -> None:
    bodies, request = Bodies(session=MIB, user=MIB), of(a_session("a"))
    for size in (10, 300, 300, 500):
        assert bodies.pay(request, size) is None
        assert bodies.total == request.paid == size
    for _ in range(2):
        bodies.free(request)
        assert bodies.total == request.paid == 0
    bodies.free(None)
    assert not bodies.sessions
    assert not bodies.users


def test_beyond_the_sum_large_bodies_wait_and_small_ones_do_not() -> None:
    bodies = Bodies(session=0, user=0)
    big = of(a_session("a"))
    assert bodies.pay(big, BODIES_BYTES + 1) is None
    assert bodies.pay(of(a_session("b")), SMALL_BYTES + 1) is answers.BUSY
    assert bodies.pay(of(a_session("b")), SMALL_BYTES) is None
    bodies.free(big)
    assert bodies.pay(of(a_session("b")), SMALL_BYTES + 1) is None


def test_who_waits_for_a_session_pays_by_address_until_it_is_over() -> None:
    """The body of a token that nobody has vouched for yet."""
    issuer = Issuer(settings=IssuerSettings(url="https://issuer.example"), on_change=lambda _: None)
    bodies = Bodies(session=MIB, user=MIB)

    def opening(address: str) -> Request:
        request = Request()
        request.opening = Waits(issuer, "token", "office/git", address, None)
        return request

    first, neighbour = opening("2001:db8::1"), opening("2001:db8::2")
    assert bodies.pay(first, 800_000) is None
    assert bodies.pay(neighbour, 800_000) is not None
    assert bodies.pay(opening("192.0.2.1"), 800_000) is None
    first.opening, first.session = None, a_session("a")
    bodies.free(first)
    assert bodies.pay(neighbour, 800_000) is None
    assert not bodies.sessions
