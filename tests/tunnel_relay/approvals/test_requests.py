"""What is pending, what is ready, what was asked before."""

from dataclasses import replace

from tests.tunnel_relay.approvals.test_decide import ASKED
from tunnel_relay.approvals.requests import MAX_OF_SESSION, MAX_OF_USER, Full, Requests
from tunnel_relay.store.approvals import Approval, State

NOW = 120.0


def asked(number: int, session: int = 0, **more: object) -> Approval:
    given = {"id": f"{number:032}", "session": f"{session:032}", "arguments": f"{number:064}"}
    return replace(ASKED, **given | more)  # type: ignore[arg-type] # fields of tests


def test_only_what_is_approved_is_ready() -> None:
    requests = Requests([asked(1), asked(2, 1, state=State.APPROVED), asked(3, 2)])
    sessions = [f"{number:032}" for number in range(4)]
    assert [requests.ready(each) for each in sessions] == [False, True, False, False]
    requests.put(asked(2, 1, state=State.CONSUMED))
    assert not requests.ready(sessions[1])


def test_the_same_call_is_found_until_it_is_used_or_over() -> None:
    requests = Requests([asked(1), asked(2, state=State.APPROVED, arguments=f"{1:064}")])
    same = requests.same(f"{0:032}", "send", f"{1:064}", NOW)
    assert [each.id for each in same] == [f"{2:032}", f"{1:032}"]
    assert requests.same(f"{1:032}", "send", f"{1:064}", NOW) == []
    assert requests.same(f"{0:032}", "other", f"{1:064}", NOW) == []
    assert requests.same(f"{0:032}", "send", f"{1:064}", 200.5) == []
    assert not requests.ready(f"{0:032}")


def test_a_session_and_a_user_have_only_so_many_unanswered() -> None:
    """P29, P41: more sessions and other tools do not help."""
    requests = Requests(asked(number) for number in range(MAX_OF_SESSION))
    session = f"{0:032}"
    assert requests.full(session, "uma", NOW) is Full.SESSION
    assert requests.full("other", "uma", NOW) is None
    requests.put(asked(0, state=State.DENIED))
    assert requests.full(session, "uma", NOW) is Full.SESSION
    requests.put(asked(0, state=State.APPROVED))
    assert requests.full(session, "uma", NOW) is None
    assert requests.full(session, "uma", 200.5) is None
    many = Requests(asked(n, n, tool=f"t{n}", agent=f"a{n}") for n in range(MAX_OF_USER))
    assert many.full("new", "uma", NOW) is Full.USER
    assert many.full("new", "bob", NOW) is None


def test_requests_are_gone_through_newest_first_from_any_of_them() -> None:
    requests = Requests([asked(1), asked(2), asked(3)])
    requests.put(asked(1, state=State.DENIED))  # it keeps its place
    requests.put(asked(4))
    names = [each.id for each in requests.newest()]
    assert names == [f"{number:032}" for number in (4, 3, 2, 1)]
    three = requests.number(f"{3:032}")
    assert [each.id for each in requests.newest(three)] == names[2:]
    assert requests.number(names[0]) == requests.last == 4


def test_what_is_long_over_is_forgotten() -> None:
    requests = Requests([asked(1), asked(2, expires=300.0)])
    requests.forget(200.5)
    assert [each.id for each in requests] == [f"{2:032}"]
    assert [each.id for each in requests.pending(250.0)] == [f"{2:032}"]
    assert requests.starting("0000") == [requests.get(f"{2:032}")]
