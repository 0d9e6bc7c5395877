import pytest

from shared.ids import SESSION_PREFIX, new_token
from tunnel_relay.gateway import answers, checks
from tunnel_relay.gateway.answers import Answer
from tunnel_relay.gateway.checks import Edge, Known, Request

EDGE = Edge(
    hosts=frozenset({b"relay.example", b"relay.example:443"}),
    origins=frozenset({b"https://relay.example"}),
    header_bytes=1000,
    header_fields=10,
    body_bytes=100,
)


def request(*headers: tuple[bytes, bytes], method: bytes = b"POST") -> Request:
    made = Request()
    made.method, made.url, made.headers = method, b"/t/lab/files/mcp", list(headers)
    made.head_bytes = sum(len(name) + len(value) + 4 for name, value in headers)
    return made


def read(*headers: tuple[bytes, bytes]) -> Answer | None:
    return checks.read_fields(request(*headers), EDGE)


def test_the_size_of_a_head_is_that_of_its_fields_and_not_of_a_body_read_with_it() -> None:
    small = request((b"x", b"y"))
    small.head_bytes = 100_000
    assert checks.read_fields(small, EDGE) is None
    assert read((b"x", b"y" * 1000)) is answers.HEADERS_TOO_LARGE
    assert read((b"x", b"y" * 995)) is None


def test_the_number_of_fields_has_a_limit() -> None:
    assert read(*[(b"x", b"")] * 10) is None
    assert read(*[(b"x", b"")] * 11) is answers.HEADERS_TOO_LARGE


@pytest.mark.parametrize(
    ("name", "answer"),
    [
        (b"host", answers.BAD_HOST),
        (b"authorization", answers.TWO_TOKENS),
        (b"origin", answers.BAD_REQUEST),
        (b"content-type", answers.BAD_REQUEST),
        (b"content-encoding", answers.BAD_REQUEST),
        (b"mcp-session-id", answers.BAD_REQUEST),
        (b"mcp-protocol-version", answers.BAD_REQUEST),
        (b"transfer-encoding", answers.BAD_REQUEST),
    ],
)
def test_a_field_two_readers_could_read_differently_comes_once(name: bytes, answer: Answer) -> None:
    assert read((name, b"a"), (name, b"a")) is answer
    assert read((b"x-many", b"a"), (b"x-many", b"b")) is None


def test_h29_trace_context_that_is_too_long_is_refused() -> None:
    assert read((b"traceparent", b"a" * 128)) is None
    refused = read((b"traceparent", b"a" * 129))
    assert refused is not None
    assert refused.status == 400
    assert b"-32602" in refused.body


@pytest.mark.parametrize("host", [b"relay.example", b"relay.example:443", b"Relay.Example"])
def test_a_host_of_the_relay_is_accepted(host: bytes) -> None:
    assert checks.refuse_place({b"host": host}, EDGE) is None
    assert checks.refuse_place({b"host": host, b"origin": b"HTTPS://Relay.Example"}, EDGE) is None


@pytest.mark.parametrize("host", [b"", b"relay.example.", b"relay.example:80", b"x.relay.example"])
def test_another_host_is_refused(host: bytes) -> None:
    assert checks.refuse_place({b"host": host}, EDGE) is answers.BAD_HOST
    assert checks.refuse_place({}, EDGE) is answers.BAD_HOST


@pytest.mark.parametrize("origin", [b"", b"null", b"http://relay.example", b"https://evil.example"])
def test_another_origin_is_refused(origin: bytes) -> None:
    fields = {b"host": b"relay.example", b"origin": origin}
    assert checks.refuse_place(fields, EDGE) is answers.BAD_ORIGIN


def test_only_what_looks_like_a_session_token_is_looked_up() -> None:
    token = new_token(SESSION_PREFIX)
    for scheme in ("Bearer", "bearer", "BEARER"):
        assert checks.read_token(f"{scheme} {token}".encode()) == token
    for value in ("", "Bearer", token, f"Basic {token}", f"Bearer {token}x", f"Bearer {token} x"):
        assert checks.read_token(value.encode()) is None
    assert checks.read_token(b"Bearer " + new_token("mtj_").encode()) is None
    assert checks.read_token(b"Bearer mts_\xff") is None


def judged(
    *fields: tuple[bytes, bytes], method: bytes = b"POST", length: bytes | None = None
) -> Answer | None:
    made = request(method=method)
    made.fields, made.length = dict(fields), length
    return checks.refuse_body(made, EDGE)


JSON = (b"content-type", b"application/json")


def test_a_body_is_json_without_an_encoding_and_within_its_limit() -> None:
    assert judged(JSON) is None
    assert judged((b"content-type", b"Application/JSON ; charset=utf-8")) is None
    assert judged(JSON, (b"content-encoding", b"Identity"), length=b"100") is None
    assert judged() is answers.NOT_JSON
    assert judged((b"content-type", b"text/plain; application/json")) is answers.NOT_JSON
    assert judged((b"content-type", b"application/json; charset=utf-7")) is answers.NOT_JSON
    assert judged(JSON, (b"content-encoding", b"gzip")) is answers.NOT_JSON
    assert judged(JSON, length=b"101") is answers.BODY_TOO_LARGE
    for length in (b"", b"-1", b"+1", b"0x1", b"1, 1", b"twice", b"9" * 13, b"\xb2"):
        assert judged(JSON, length=length) is answers.BAD_REQUEST


@pytest.mark.parametrize("method", [b"GET", b"DELETE"])
def test_only_post_has_a_body(method: bytes) -> None:
    assert judged(method=method) is None
    assert judged(method=method, length=b"0") is None
    assert judged(method=method, length=b"1") is answers.BODY_NOT_ALLOWED
    coding = (b"transfer-encoding", b"chunked")
    assert judged(coding, method=method) is answers.BODY_NOT_ALLOWED


def test_a_known_head_is_the_very_same_head() -> None:
    first = request((b"host", b"relay.example"), (b"authorization", b"Bearer a"))
    known = Known(first)
    assert known.matches(request(*first.headers))
    assert not known.matches(request(*first.headers, method=b"GET"))
    assert not known.matches(request(*reversed(first.headers)))
    assert not known.matches(request(*first.headers, (b"x", b"")))
    assert not known.matches(request(first.headers[0], (b"authorization", b"Bearer b")))
    elsewhere = request(*first.headers)
    elsewhere.url = b"/t/lab/other/mcp"
    assert not known.matches(elsewhere)


@pytest.mark.parametrize(
    "path",
    [b"/t/lab/mcp", b"/t/lab/x/mcp/", b"/t/Lab/x/mcp", b"/t/lab/../mcp", b"/t/a/b/mcp\n", b"/"],
)
def test_a_path_names_one_tunnel_and_one_upstream(path: bytes) -> None:
    assert checks.PATH.fullmatch(path) is None
    found = checks.PATH.fullmatch(b"/t/lab/files-2/mcp")
    assert found is not None
    assert found.group(1) == b"lab/files-2"


@pytest.mark.parametrize(
    ("target", "for_links"),
    [
        (b"/tunnel", True),
        (b"/tunnel/enroll", True),
        (b"http://relay/tunnel/enroll", True),
        (b"/%74unnel/enroll", True),
        (b"//tunnel/enroll", True),
        (b"/healthz", False),
        (b"/readyz?now", False),
        (b"/t/office/tickets/mcp", False),
    ],
)
def test_no_other_spelling_of_a_path_for_clients_gets_past_a_listener_for_agents(
    target: bytes, for_links: bool
) -> None:
    request = Request()
    request.url = target
    assert request.for_links is for_links
