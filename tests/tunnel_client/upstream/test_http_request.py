"""What the last hop drops, sets and refuses."""

import httptools
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.tunnel_client.upstream.http_support import call
from tunnel_client.upstream.base import Headers
from tunnel_client.upstream.http_request import (
    BadHeaderError,
    BadInjectionError,
    RequestEncoder,
)
from tunnel_client.upstream.http_target import target_from

ENCODER = RequestEncoder(target_from("http://crm.internal:3000/mcp?x=1"))


def encode(
    *headers: tuple[bytes, bytes],
    http: str = "POST",
    session: bytes | None = None,
    injected: Headers | None = None,
    body: bytes = b"{}",
) -> bytes:
    request = call(http=http, headers=list(headers), body=body)
    return ENCODER.encode(request, session, injected or [])


def test_a_request_byte_for_byte() -> None:
    head = encode((b"content-type", b"application/json"), (b"Mcp-Method", b"ping"), session=b"U1")
    assert head == (
        b"POST /mcp?x=1 HTTP/1.1\r\n"
        b"Host: crm.internal:3000\r\n"
        b"Accept-Encoding: identity\r\n"
        b"content-type: application/json\r\n"
        b"mcp-method: ping\r\n"
        b"Mcp-Session-Id: U1\r\n"
        b"Content-Length: 2\r\n\r\n"
    )


def test_a_request_without_body_has_no_length_unless_it_is_a_post() -> None:
    assert b"Content-Length" not in encode(http="GET")
    assert b"Content-Length" not in encode(http="DELETE")
    assert b"Content-Length: 0\r\n" in encode(body=b"")


@pytest.mark.parametrize(
    "name",
    [
        *("host", "origin", "authorization", "cookie", "proxy-authorization", "proxy-anything"),
        *("keep-alive", "te", "trailer", "transfer-encoding", "upgrade", "content-length"),
        *("expect", "forwarded", "x-forwarded-for", "x-forwarded-user", "x-real-ip"),
        *("accept-charset", "range", "if-range", "a-im"),
        *("accept-encoding", "mcp-session-id", "connection", "proxy-connection", "x-api-key"),
    ],
)
@pytest.mark.parametrize("spelling", [str.lower, str.title, lambda n: n.replace("-", "_")])
def test_what_the_agent_may_not_say_is_dropped(name: str, spelling: type[str]) -> None:
    header = spelling(name).encode()
    head = encode((header, b"evil"), (b"x-kept", b"1"))
    assert b"evil" not in head
    assert b"x-kept: 1\r\n" in head


def test_what_connection_names_is_dropped_too() -> None:
    head = encode(
        (b"x-a", b"1"), (b"X-B", b"2"), (b"Connection", b"close,X-A , x-b"), (b"x-c", b"3")
    )
    assert b"x-a" not in head
    assert b"x-b" not in head
    assert b"x-c: 3" in head
    assert b"onnection" not in head


def test_what_is_injected_wins() -> None:
    head = encode(
        (b"x-key", b"agent"),
        (b"X_Key", b"agent"),
        (b"authorization", b"agent"),
        injected=[(b"X-Key", b"ours"), (b"authorization", b"Bearer ours")],
    )
    assert b"agent" not in head
    assert head.count(b"ours") == 2
    assert b"authorization: Bearer ours\r\n" in head


def test_what_is_injected_survives_a_connection_header_that_names_it() -> None:
    head = encode((b"connection", b"x-key"), (b"x-key", b"agent"), injected=[(b"x-key", b"ours")])
    assert head.count(b"x-key") == 1
    assert b"x-key: ours\r\n" in head


@pytest.mark.parametrize(
    "value", [b"a\r\nX-Evil: 1", b"a\nb", b"a\rb", b"a\0b", b"a\x1bb", b"\x7f", b"a\r\n\r\nGET / x"]
)
def test_values_that_would_smuggle_are_refused(value: bytes) -> None:
    with pytest.raises(BadHeaderError) as caught:
        encode((b"x-a", value))
    assert "Evil" not in str(caught.value)
    with pytest.raises(BadInjectionError):
        encode(injected=[(b"x-a", value)])
    with pytest.raises(BadHeaderError):
        encode(session=value)


@pytest.mark.parametrize(
    "name", [b"", b"a b", b"a:", b"a\r\nb", b"a\0", b"(a)", b"\xc3\xa4", b" a", b"a" * 257]
)
def test_names_that_are_no_tokens_are_refused(name: bytes) -> None:
    with pytest.raises(BadHeaderError):
        encode((name, b"1"))


@pytest.mark.parametrize("name", [b"content-length", b"Transfer-Encoding", b"host", b"a b"])
def test_framing_is_never_injected(name: bytes) -> None:
    with pytest.raises(BadInjectionError):
        encode(injected=[(name, b"1")])


def test_the_memory_of_names_is_bounded_and_goes_on_to_work() -> None:
    encoder = RequestEncoder(target_from("http://x/"))
    for n in range(5000):
        head = encoder.encode(
            call(headers=[(b"mcp-param-%d" % n, b"1"), (b"cookie", b"2")]), None, []
        )
        assert b"mcp-param-%d: 1\r\n" % n in head
        assert b"cookie" not in head
    assert len(encoder._names) <= 1024


class _Heads:
    def __init__(self) -> None:
        self.names: list[bytes] = []
        self.complete = 0

    def on_header(self, name: bytes, value: bytes) -> None:
        self.names.append(name.lower())

    def on_message_complete(self) -> None:
        self.complete += 1


@given(st.lists(st.tuples(st.binary(max_size=12), st.binary(max_size=12)), max_size=6))
def test_whatever_the_headers_one_request_is_read_or_none_is_written(headers: Headers) -> None:
    try:
        head = encode(*headers)
    except BadHeaderError:
        return
    read = _Heads()
    httptools.HttpRequestParser(read).feed_data(head + b"{}")
    assert read.complete == 1
    assert read.names.count(b"host") == 1
    assert read.names.count(b"content-length") == 1
    assert b"transfer-encoding" not in read.names


NOT_OURS = [
    *(b"baggage", b"TraceState", b"Api-Key", b"x_auth_token", b"Via", b"Referer", b"X-User"),
    *(b"Remote_User", b"X-Remote-User", b"X-Original-URL", b"x_rewrite_url", b"X-Original-Host"),
    *(b"X-HTTP-Method-Override", b"X-Method-Override", b"X-Upstream-A", b"Sec-Fetch-Site"),
]


@pytest.mark.parametrize("name", NOT_OURS)
def test_what_carries_data_or_logins_past_everybody_is_dropped(name: bytes) -> None:
    """Rows C10 and C20."""
    assert b"agents" not in encode((name, b"agents"))
