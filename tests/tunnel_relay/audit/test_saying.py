"""What an agent claims: in this request, when its session began, or by its user agent."""

from shared.jsonrpc.envelope import parse
from tunnel_relay.audit.saying import MAX_REMEMBERED, Claims
from tunnel_relay.gateway.checks import Request

BEGIN = (
    b'{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-11-25",'
    b'"capabilities":{},"clientInfo":{"name":"desk","version":"3"}}}'
)
PING = b'{"jsonrpc":"2.0","id":2,"method":"ping"}'


def from_curl() -> Request:
    request = Request()
    request.headers = [(b"user-agent", b"curl/8")]
    return request


def test_a_session_is_known_by_what_it_said_when_it_began_and_else_by_its_program() -> None:
    """A17."""
    claims = Claims()
    assert claims.of("one", from_curl(), parse(PING)) == "curl/8"
    assert claims.of("one", from_curl(), parse(BEGIN)) == "desk/3"
    assert claims.of("one", from_curl(), parse(PING)) == "desk/3"
    assert claims.of("one", from_curl(), None) == "desk/3"
    assert claims.of("two", from_curl(), parse(PING)) == "curl/8"
    assert claims.of("two", Request(), parse(PING)) is None


def test_no_more_is_remembered_than_there_is_room_for() -> None:
    claims, begin = Claims(), parse(BEGIN)
    for number in range(MAX_REMEMBERED + 1):
        claims.of(str(number), from_curl(), begin)
    assert claims.of("0", from_curl(), None) == "curl/8"
    assert claims.of(str(MAX_REMEMBERED), from_curl(), None) == "desk/3"
